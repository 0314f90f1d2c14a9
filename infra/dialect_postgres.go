package infra

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/softbee/accounts/domain"
	"github.com/softbee/accounts/ent/migrate/desired"
	"github.com/softbee/accounts/ent/migrate/postgres"
	"github.com/softbee/accounts/infra/migration"
)

var postgresDialect = dialect{
	name:       migration.Postgres,
	system:     "postgresql",
	migrations: postgres.Files,
	argument:   func(place int) string { return "$" + strconv.Itoa(place) },
	time:       "CAST(? AS timestamptz)",
	schemas:    true,
	arguments:  65535, // the protocol counts them in 16 bits

	inIDs:   "= ANY (CAST(? AS uuid[]))",
	inTexts: "= ANY (CAST(? AS text[]))",
	eachID:  "unnest(CAST(? AS uuid[])) AS listed(id)",
	list:    postgresList,
	inQuery: " = ANY (ARRAY(?))",
	locking: true,

	// A message in the log, for those who decode it, that is part of a transaction: its commit is written and waits as that of any change.
	awaitStandby: "SELECT pg_logical_emit_message(true, 'accounts', '')",

	changesInWith: true,

	lastLogin:   "coalesce(last_login, '0001-01-01 00:00:00+00')",
	afterLogin:  func(at time.Time, id domain.ID) []any { return []any{at, id.UUID()} },
	emailDomain: "substr(email, strpos(email, '@') + 1)",

	health: postgresHealth,

	position: `SELECT s.system_identifier::text, CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END,
		CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_current_wal_insert_lsn()::text END,
		NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' FROM pg_control_system() AS s`,
	// The timeline is that of what is received, which a member of pg_read_all_stats sees, or, later, of what is in the control file.
	replica: `SELECT s.system_identifier::text, (` + ServerIdentity + `), pg_is_in_recovery(),
		greatest((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
			(SELECT received_tli FROM pg_stat_wal_receiver))::bigint,
		coalesce(pg_last_wal_replay_lsn(), '0/0')::text FROM pg_control_system() AS s`,

	temporary:       []string{"SET LOCAL search_path = pg_temp", desired.Postgres},
	temporarySchema: "pg_temp",
	triggers:        []string{"account_events_append_only", "account_events_no_truncate"},
	parts:           postgresParts,

	elements: "jsonb_array_elements_text({users}.refresh_tokens) WITH ORDINALITY AS element(v, n)",
	array:    "coalesce(jsonb_agg(v ORDER BY n), '[]')",
	binary:   ` COLLATE "C"`,
	length:   "jsonb_array_length(refresh_tokens)",
	appended: "refresh_tokens || to_jsonb(CAST(? AS text))",
	replaced: "(refresh_tokens - CAST(? AS text)) || to_jsonb(CAST(? AS text))",
	contains: "refresh_tokens ?? CAST(? AS text)",
	same:     "refresh_tokens = CAST(? AS jsonb)",
}

// postgresList writes an array.
func postgresList(texts []string) string {
	var b strings.Builder
	b.WriteByte('{')
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for i, text := range texts {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		_, _ = escape.WriteString(&b, text) // a builder takes everything
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// postgresParts reads the catalog. The names of other schemas are left out of definitions, so that those of temporary tables compare.
func postgresParts(ctx context.Context, t *Tx, schema string) ([]part, error) {
	query := t.dialect.fill("", `WITH declared AS (
			SELECT c.oid, c.relname::text AS name, quote_ident(n.nspname) || '.' AS qualifier
			FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('r', 'p') AND c.relname IN (`+strings.Join(declaredTables(desired.Postgres), ", ")+`)
				AND CASE CAST(? AS text) WHEN 'pg_temp' THEN n.oid = pg_my_temp_schema() ELSE n.nspname = CAST(? AS text) END)
		SELECT t.name, 'column', a.attname::text, format_type(a.atttypid, a.atttypmod)
			|| CASE WHEN a.attcollation NOT IN (0, 100) THEN ' COLLATE ' || quote_ident((SELECT collname FROM pg_collation WHERE oid = a.attcollation)) ELSE '' END
			|| CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
		FROM declared AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
			LEFT JOIN pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum
		UNION ALL
		SELECT t.name, CASE k.contype WHEN 'c' THEN 'check' ELSE 'foreign key' END, k.conname::text,
			replace(replace(pg_get_constraintdef(k.oid), t.qualifier, ''), ' NOT VALID', '')
		FROM declared AS t JOIN pg_constraint AS k ON k.conrelid = t.oid AND k.contype IN ('c', 'f')
		UNION ALL
		SELECT t.name, 'unique index', i.relname::text,
			(SELECT '(' || string_agg(pg_get_indexdef(x.indexrelid, n, true), ', ' ORDER BY n) || ')' FROM generate_series(1, x.indnkeyatts) AS n)
				|| coalesce(' WHERE ' || pg_get_expr(x.indpred, x.indrelid), '')
		FROM declared AS t JOIN pg_index AS x ON x.indrelid = t.oid AND x.indisunique AND x.indisvalid JOIN pg_class AS i ON i.oid = x.indexrelid
		UNION ALL
		SELECT t.name, 'trigger', g.tgname::text, '' FROM declared AS t JOIN pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')`)
	return collect(ctx, &t.repository, "compare", query, []any{schema, schema}, scanPart)
}

func postgresHealth(ctx context.Context, s *Store, h *Health) error {
	const query = `SELECT current_setting('server_version'), NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off',
		CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() THEN 0
			ELSE extract(epoch FROM now() - coalesce(pg_last_xact_replay_timestamp(), (SELECT checkpoint_time FROM pg_control_checkpoint()))) END::float8`
	_, err := collect(ctx, &s.repository, "ask for the server's state", query, nil, func(rows Rows) (struct{}, error) {
		var lag float64
		err := rows.Scan(&h.Server, &h.Writable, &lag)
		h.Lag = time.Duration(lag * float64(time.Second))
		return struct{}{}, err
	})
	return err
}
