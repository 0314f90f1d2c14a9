SET LOCAL lock_timeout = '5s';
-- Written by hand: the schema cannot say it. docs/performance.md has the measurements.
--
-- fillfactor: pages are filled to 85 %, so that the new version of a row finds room beside the old one and needs no new entry
-- in any index (a HOT update). Rows that are stored already stay where they are.
--
-- toast_tuple_target: a row of up to about 4 kB stays in one piece. The list of 20 sessions would otherwise be compressed or
-- moved to the TOAST table, at every rotation.
ALTER TABLE "users" SET (fillfactor = 85, toast_tuple_target = 4080);
