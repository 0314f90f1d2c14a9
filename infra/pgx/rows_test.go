package pgx

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/softbee/accounts/infra/storetest"
)

// Each type of a column is decoded here: one that is not makes pgx scan the whole row, which takes longer and shows in nothing else.
func TestEachColumnIsDecoded(t *testing.T) {
	t.Parallel()
	url := storetest.PostgresURL(t)
	storetest.OpenPostgres(t, url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	types, err := conn.Query(t.Context(), "SELECT DISTINCT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(types, pgx.RowTo[string])
	if err != nil || len(names) == 0 {
		t.Fatalf("%d types, %v", len(names), err)
	}
	samples := map[string]string{
		"uuid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "character varying": "text", "text": "text", "boolean": "true", "integer": "7", "bigint": "7",
		"timestamp with time zone": "2026-01-02T03:04:05Z", "jsonb": `["a"]`,
	}
	for _, name := range names {
		sample, ok := samples[name]
		if !ok {
			t.Errorf("%s: add a sample", name)
			continue
		}
		row, err := conn.Query(t.Context(), "SELECT '"+sample+"'::"+name)
		if err != nil {
			t.Fatal(err)
		}
		for row.Next() {
			if value, ok := decode(&row.FieldDescriptions()[0], row.RawValues()[0]); !ok || value == nil {
				t.Errorf("%s: got %v, %t", name, value, ok)
			}
		}
		if row.Close(); row.Err() != nil {
			t.Errorf("%s: %v", name, row.Err())
		}
	}
}
