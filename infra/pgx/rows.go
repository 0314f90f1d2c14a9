package pgx

import (
	stdsql "database/sql"
	"encoding/binary"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// rows are pgx's, with the Close of database/sql. They read the binary forms of the types that the store's columns have: pgx makes
// a plan and a value of its own for each [stdsql.Scanner], which is a tenth of the time of a lookup by ID.
type rows struct{ pgx.Rows }

func (r rows) Close() error {
	r.Rows.Close()
	return nil
}

// Scan implements [infra.Rows].
func (r rows) Scan(destinations ...any) error {
	fields, raw := r.FieldDescriptions(), r.RawValues()
	if len(destinations) != len(raw) {
		return r.Rows.Scan(destinations...) // which says what is wrong
	}
	for i, destination := range destinations {
		scanner, ok := destination.(stdsql.Scanner)
		if !ok {
			return r.Rows.Scan(destinations...)
		}
		value, ok := decode(&fields[i], raw[i])
		if !ok {
			return r.Rows.Scan(destinations...)
		}
		if err := scanner.Scan(value); err != nil {
			return err
		}
	}
	return nil
}

// decode returns a value as database/sql would, and false for a form that only pgx reads. Bytes are valid until the next row.
func decode(field *pgconn.FieldDescription, raw []byte) (any, bool) {
	switch {
	case raw == nil:
		return nil, true
	case field.DataTypeOID == pgtype.VarcharOID, field.DataTypeOID == pgtype.TextOID: // one form in both formats
		return raw, true
	case field.DataTypeOID == pgtype.JSONBOID && field.Format == pgtype.TextFormatCode: // which pgx asks for
		return raw, true
	case field.Format != pgtype.BinaryFormatCode:
		return nil, false
	}
	switch {
	case field.DataTypeOID == pgtype.BoolOID && len(raw) == 1:
		return raw[0] == 1, true
	case field.DataTypeOID == pgtype.Int4OID && len(raw) == 4:
		return int64(int32(binary.BigEndian.Uint32(raw))), true
	case field.DataTypeOID == pgtype.Int8OID && len(raw) == 8:
		return int64(binary.BigEndian.Uint64(raw)), true
	case field.DataTypeOID == pgtype.JSONBOID && len(raw) > 0 && raw[0] == 1: // the version of the format
		return raw[1:], true
	case field.DataTypeOID == pgtype.UUIDOID && len(raw) == 16:
		return pgtype.UUID{Bytes: [16]byte(raw), Valid: true}.String(), true
	case field.DataTypeOID == pgtype.TimestamptzOID && len(raw) == 8:
		since2000 := int64(binary.BigEndian.Uint64(raw)) // microseconds
		if since2000 == math.MaxInt64 || since2000 == math.MinInt64 {
			return nil, false // infinity
		}
		const epoch = 946_684_800 // 2000-01-01 in seconds since 1970
		return time.Unix(epoch+since2000/1e6, since2000%1e6*1e3), true
	}
	return nil, false
}
