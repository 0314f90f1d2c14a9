-- atlas:delimiter ;\n\n
-- The audit trail is append-only: entries are deleted by retention alone.
CREATE TRIGGER `account_events_no_update` BEFORE UPDATE ON `account_events` BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END;

CREATE TRIGGER `account_events_no_delete` BEFORE DELETE ON `account_events` BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END;

-- INSERT OR REPLACE deletes without the trigger before.
CREATE TRIGGER `account_events_no_replace` BEFORE INSERT ON `account_events` WHEN EXISTS (SELECT 1 FROM `account_events` WHERE `id` = NEW.`id`) BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END;
