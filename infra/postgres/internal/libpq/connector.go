package libpq

import (
	"database/sql/driver"
	"net/url"
	"strconv"

	"github.com/lib/pq"

	"github.com/softbee/accounts/domain"
)

// defaultStatements is more than the store has different statements.
const defaultStatements = 128

// connectTimeout bounds the making of a connection, in seconds, unless the URL has a connect_timeout.
const connectTimeout = 10

// NewConnector returns a connector for a URL, with the parameters of lib/pq and statement_cache, the number of prepared statements
// that a connection keeps. It returns [domain.ErrInvalid] on the field "database".
func NewConnector(databaseURL string) (driver.Connector, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, invalidURL("is not a postgres:// URL") // err would quote the URL with its password
	}
	parameters := u.Query()
	size := defaultStatements
	if text := parameters.Get("statement_cache"); text != "" {
		if size, err = strconv.Atoi(text); err != nil || size < 0 {
			return nil, invalidURL("has a statement_cache that is not a number")
		}
	}
	parameters.Del("statement_cache")
	if !parameters.Has("connect_timeout") {
		parameters.Set("connect_timeout", strconv.Itoa(connectTimeout))
	}
	if size == 0 {
		// Without prepared statements one round trip takes that the arguments go with the statement.
		parameters.Set("binary_parameters", "yes")
	}
	u.RawQuery = parameters.Encode()
	connector, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, invalidURL("has a parameter that is not valid")
	}
	if size == 0 {
		return newUncachedConnector(connector), nil
	}
	return newCachingConnector(connector, size), nil
}

func invalidURL(reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: reason}
}
