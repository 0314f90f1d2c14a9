package libpq

import (
	"database/sql/driver"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/lib/pq"

	"github.com/softbee/accounts/domain"
)

// defaultStatements is more than the store has different statements.
const defaultStatements = 128

// NewConnector returns a connector for a URL, or for a string of key=value pairs as libpq has it, with the parameters of lib/pq and
// statement_cache, the number of prepared statements that a connection keeps. Several hosts may be given as libpq has it,
// host1:port1,host2:port2 in a URL, or as lists in the parameters host and port. It returns [domain.ErrInvalid] on the field "database".
func NewConnector(database string) (driver.Connector, error) {
	c, err := parse(database)
	if err != nil {
		return nil, err // and no typed nil
	}
	return c, nil
}

// NewReplica is NewConnector for one server that is read from. Each connection says which server it leads to, and is made if admit returns nil. After reset, no
// connection that was made before is used again.
func NewReplica(database string, admit func(identity string) error) (_ driver.Connector, reset func(), _ error) {
	c, err := parse(database)
	switch {
	case err != nil:
		return nil, nil, err
	case len(c.hosts) > 1:
		return nil, nil, invalidURL("has several hosts; give each replica a URL of its own")
	}
	c.admit = admit
	return c, func() { c.pool.Add(1) }, nil
}

func parse(database string) (*connector, error) {
	text := database
	if scheme, _, isURL := strings.Cut(database, "://"); isURL && !strings.ContainsAny(scheme, "= ") {
		var err error
		if text, err = withHostParameters(database); err != nil {
			return nil, err
		}
	} else if !strings.Contains(database, "=") {
		return nil, invalidURL("is neither a postgres:// URL nor a string of key=value pairs")
	}
	config, err := pq.NewConfig(text)
	if err != nil { // err would quote values, among them the password
		return nil, invalidURL("has a parameter that is not valid")
	}
	size := defaultStatements
	if text, ok := config.Runtime["statement_cache"]; ok {
		if size, err = strconv.Atoi(text); err != nil || size < 0 {
			return nil, invalidURL("has a statement_cache that is not a number")
		}
		delete(config.Runtime, "statement_cache")
	}
	if size == 0 {
		// Without prepared statements one round trip takes that the arguments go with the statement.
		config.BinaryParameters = true
		return newUncachedConnector(config), nil
	}
	return newCachingConnector(config, size), nil
}

// withHostParameters turns the hosts of a URL that has several into parameters.
func withHostParameters(databaseURL string) (string, error) {
	single, several := splitHosts(databaseURL)
	u, err := url.Parse(single)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", invalidURL("is not a postgres:// URL") // err would quote the URL with its password
	}
	if len(several) == 0 {
		return databaseURL, nil
	}
	hosts, ports := make([]string, len(several)), make([]string, len(several))
	for i, address := range several {
		if hosts[i], ports[i], err = net.SplitHostPort(address); err != nil {
			hosts[i], ports[i] = strings.Trim(address, "[]"), "5432"
		}
	}
	parameters := u.Query()
	parameters.Set("host", strings.Join(hosts, ","))
	parameters.Set("port", strings.Join(ports, ","))
	u.RawQuery = parameters.Encode()
	return u.String(), nil
}

// splitHosts takes the hosts out of a URL that has several, for which a URL of Go has no place.
func splitHosts(databaseURL string) (single string, hosts []string) {
	begin := strings.Index(databaseURL, "://") + len("://")
	if begin < len("://") {
		return databaseURL, nil
	}
	end := len(databaseURL)
	if i := strings.IndexAny(databaseURL[begin:], "/?#"); i >= 0 {
		end = begin + i
	}
	begin += strings.LastIndex(databaseURL[begin:end], "@") + 1
	if hosts = strings.Split(databaseURL[begin:end], ","); len(hosts) == 1 {
		return databaseURL, nil
	}
	return databaseURL[:begin] + databaseURL[end:], hosts
}

func invalidURL(reason string) error {
	return &domain.Error{Kind: domain.ErrInvalid, Field: "database", Reason: reason}
}
