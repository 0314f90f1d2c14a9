-- What ent cannot declare and Atlas does not compare: room for new versions of a row on its page, and rows in one piece.
ALTER TABLE "users" SET (fillfactor = 85, toast_tuple_target = 4080);
-- The audit trail is append-only: entries are deleted by retention alone.
CREATE OR REPLACE FUNCTION "account_events_append_only"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('accounts.retention', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'account_events is append-only';
END
$$;
CREATE TRIGGER "account_events_append_only" BEFORE UPDATE OR DELETE ON "account_events" FOR EACH ROW EXECUTE FUNCTION "account_events_append_only"();
CREATE TRIGGER "account_events_no_truncate" BEFORE TRUNCATE ON "account_events" FOR EACH STATEMENT EXECUTE FUNCTION "account_events_append_only"();
