-- atlas:delimiter ;\n\n
-- Create "account_events" table
CREATE TABLE `account_events` (
  `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  `account_id` uuid NOT NULL,
  `kind` text NOT NULL,
  `occurred_at` datetime NOT NULL DEFAULT (CURRENT_TIMESTAMP),
  `request_id` text NULL,
  `client` text NULL,
  `actor` text NULL,
  CONSTRAINT `account_events_account_id_check` CHECK (typeof(account_id) = 'text' AND account_id GLOB '[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'),
  CONSTRAINT `account_events_actor_check` CHECK (typeof(actor) IN ('text', 'null')),
  CONSTRAINT `account_events_client_check` CHECK (typeof(client) IN ('text', 'null')),
  CONSTRAINT `account_events_kind_check` CHECK (typeof(kind) = 'text' AND kind <> ''),
  CONSTRAINT `account_events_occurred_at_check` CHECK (occurred_at IS NULL OR occurred_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND occurred_at NOT GLOB '0000*' AND typeof(occurred_at) = 'text' AND datetime(occurred_at) IS substr(occurred_at, 1, 19) AND length(occurred_at) <= 26 AND substr(occurred_at, 20) NOT GLOB '*[^.0-9]*' AND occurred_at NOT GLOB '*.*0'),
  CONSTRAINT `account_events_request_id_check` CHECK (typeof(request_id) IN ('text', 'null'))
);

-- Create index "account_events_account_id" to table: "account_events"
CREATE INDEX `account_events_account_id` ON `account_events` (`account_id`, `id`);

-- Create "identities" table
CREATE TABLE `identities` (
  `id` uuid NOT NULL DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
  `issuer` text NOT NULL,
  `subject` text NOT NULL,
  `created_at` datetime NOT NULL DEFAULT (CURRENT_TIMESTAMP),
  `last_used_at` datetime NULL,
  `user_id` uuid NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `identities_user_id_fkey` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`) ON UPDATE NO ACTION ON DELETE CASCADE,
  CONSTRAINT `identities_created_at_check` CHECK (created_at IS NULL OR created_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND created_at NOT GLOB '0000*' AND typeof(created_at) = 'text' AND datetime(created_at) IS substr(created_at, 1, 19) AND length(created_at) <= 26 AND substr(created_at, 20) NOT GLOB '*[^.0-9]*' AND created_at NOT GLOB '*.*0'),
  CONSTRAINT `identities_issuer_check` CHECK (typeof(issuer) = 'text' AND issuer <> ''),
  CONSTRAINT `identities_last_used_at_check` CHECK (last_used_at IS NULL OR last_used_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND last_used_at NOT GLOB '0000*' AND typeof(last_used_at) = 'text' AND datetime(last_used_at) IS substr(last_used_at, 1, 19) AND length(last_used_at) <= 26 AND substr(last_used_at, 20) NOT GLOB '*[^.0-9]*' AND last_used_at NOT GLOB '*.*0'),
  CONSTRAINT `identities_subject_check` CHECK (typeof(subject) = 'text' AND subject <> '')
);

-- Create index "identities_issuer_subject_key" to table: "identities"
CREATE UNIQUE INDEX `identities_issuer_subject_key` ON `identities` (`issuer`, `subject`);

-- Create index "identities_user_id" to table: "identities"
CREATE INDEX `identities_user_id` ON `identities` (`user_id`, `created_at`);

-- Create "users" table
CREATE TABLE `users` (
  `id` uuid NOT NULL DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
  `email` text NOT NULL,
  `pending_email` text NULL,
  `username` text NOT NULL,
  `hashed_password` text NOT NULL,
  `first_name` text NULL,
  `last_name` text NULL,
  `phone` text NULL,
  `is_active` bool NOT NULL DEFAULT true,
  `is_verified` bool NOT NULL DEFAULT false,
  `last_login` datetime NULL,
  `refresh_tokens` json NOT NULL DEFAULT '[]',
  `failed_login_attempts` integer NOT NULL DEFAULT 0,
  `locked_until` datetime NULL,
  `reset_token` text NULL,
  `reset_token_expiry` datetime NULL,
  `verification_token` text NULL,
  `verification_token_expiry` datetime NULL,
  `phone_code` text NULL,
  `phone_code_expiry` datetime NULL,
  `phone_code_attempts` integer NOT NULL DEFAULT 0,
  `phone_verified_at` datetime NULL,
  `version` integer NOT NULL DEFAULT 1,
  `created_at` datetime NOT NULL DEFAULT (CURRENT_TIMESTAMP),
  `updated_at` datetime NOT NULL DEFAULT (CURRENT_TIMESTAMP),
  PRIMARY KEY (`id`),
  CONSTRAINT `users_created_at_check` CHECK (created_at IS NULL OR created_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND created_at NOT GLOB '0000*' AND typeof(created_at) = 'text' AND datetime(created_at) IS substr(created_at, 1, 19) AND length(created_at) <= 26 AND substr(created_at, 20) NOT GLOB '*[^.0-9]*' AND created_at NOT GLOB '*.*0'),
  CONSTRAINT `users_email_check` CHECK (typeof(email) IN ('text', 'null') AND email LIKE '_%@_%' AND email = lower(email)),
  CONSTRAINT `users_failed_login_attempts_check` CHECK (typeof(failed_login_attempts) = 'integer' AND failed_login_attempts >= 0 AND failed_login_attempts <= 2147483647),
  CONSTRAINT `users_first_name_check` CHECK (typeof(first_name) IN ('text', 'null')),
  CONSTRAINT `users_hashed_password_check` CHECK (typeof(hashed_password) = 'text' AND hashed_password <> ''),
  CONSTRAINT `users_id_check` CHECK (typeof(id) = 'text' AND id GLOB '[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]' AND id <> '00000000-0000-0000-0000-000000000000'),
  CONSTRAINT `users_is_active_check` CHECK (is_active IN (0, 1)),
  CONSTRAINT `users_is_verified_check` CHECK (is_verified IN (0, 1)),
  CONSTRAINT `users_last_login_check` CHECK (last_login IS NULL OR last_login GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND last_login NOT GLOB '0000*' AND typeof(last_login) = 'text' AND datetime(last_login) IS substr(last_login, 1, 19) AND length(last_login) <= 26 AND substr(last_login, 20) NOT GLOB '*[^.0-9]*' AND last_login NOT GLOB '*.*0'),
  CONSTRAINT `users_last_name_check` CHECK (typeof(last_name) IN ('text', 'null')),
  CONSTRAINT `users_locked_until_check` CHECK (locked_until IS NULL OR locked_until GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND locked_until NOT GLOB '0000*' AND typeof(locked_until) = 'text' AND datetime(locked_until) IS substr(locked_until, 1, 19) AND length(locked_until) <= 26 AND substr(locked_until, 20) NOT GLOB '*[^.0-9]*' AND locked_until NOT GLOB '*.*0'),
  CONSTRAINT `users_pending_email_check` CHECK (typeof(pending_email) IN ('text', 'null') AND pending_email LIKE '_%@_%' AND pending_email = lower(pending_email)),
  CONSTRAINT `users_phone_check` CHECK (typeof(phone) IN ('text', 'null')),
  CONSTRAINT `users_phone_code_attempts_check` CHECK (typeof(phone_code_attempts) = 'integer' AND phone_code_attempts >= 0 AND phone_code_attempts <= 2147483647),
  CONSTRAINT `users_phone_code_check` CHECK (typeof(phone_code) IN ('text', 'null') AND length(phone_code) = 64 AND phone_code NOT GLOB '*[^0-9a-f]*'),
  CONSTRAINT `users_phone_code_expiry_check` CHECK (phone_code_expiry IS NULL OR phone_code_expiry GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND phone_code_expiry NOT GLOB '0000*' AND typeof(phone_code_expiry) = 'text' AND datetime(phone_code_expiry) IS substr(phone_code_expiry, 1, 19) AND length(phone_code_expiry) <= 26 AND substr(phone_code_expiry, 20) NOT GLOB '*[^.0-9]*' AND phone_code_expiry NOT GLOB '*.*0'),
  CONSTRAINT `users_phone_verified_at_check` CHECK (phone_verified_at IS NULL OR phone_verified_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND phone_verified_at NOT GLOB '0000*' AND typeof(phone_verified_at) = 'text' AND datetime(phone_verified_at) IS substr(phone_verified_at, 1, 19) AND length(phone_verified_at) <= 26 AND substr(phone_verified_at, 20) NOT GLOB '*[^.0-9]*' AND phone_verified_at NOT GLOB '*.*0'),
  CONSTRAINT `users_refresh_tokens_check` CHECK (typeof(refresh_tokens) = 'text' AND json_type(refresh_tokens) = 'array'),
  CONSTRAINT `users_reset_token_check` CHECK (typeof(reset_token) IN ('text', 'null') AND length(reset_token) = 64 AND reset_token NOT GLOB '*[^0-9a-f]*'),
  CONSTRAINT `users_reset_token_expiry_check` CHECK (reset_token_expiry IS NULL OR reset_token_expiry GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND reset_token_expiry NOT GLOB '0000*' AND typeof(reset_token_expiry) = 'text' AND datetime(reset_token_expiry) IS substr(reset_token_expiry, 1, 19) AND length(reset_token_expiry) <= 26 AND substr(reset_token_expiry, 20) NOT GLOB '*[^.0-9]*' AND reset_token_expiry NOT GLOB '*.*0'),
  CONSTRAINT `users_updated_at_check` CHECK (updated_at IS NULL OR updated_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND updated_at NOT GLOB '0000*' AND typeof(updated_at) = 'text' AND datetime(updated_at) IS substr(updated_at, 1, 19) AND length(updated_at) <= 26 AND substr(updated_at, 20) NOT GLOB '*[^.0-9]*' AND updated_at NOT GLOB '*.*0'),
  CONSTRAINT `users_username_check` CHECK (typeof(username) = 'text' AND username <> '' AND username = lower(username)),
  CONSTRAINT `users_verification_token_check` CHECK (typeof(verification_token) IN ('text', 'null') AND length(verification_token) = 64 AND verification_token NOT GLOB '*[^0-9a-f]*'),
  CONSTRAINT `users_verification_token_expiry_check` CHECK (verification_token_expiry IS NULL OR verification_token_expiry GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND verification_token_expiry NOT GLOB '0000*' AND typeof(verification_token_expiry) = 'text' AND datetime(verification_token_expiry) IS substr(verification_token_expiry, 1, 19) AND length(verification_token_expiry) <= 26 AND substr(verification_token_expiry, 20) NOT GLOB '*[^.0-9]*' AND verification_token_expiry NOT GLOB '*.*0'),
  CONSTRAINT `users_version_check` CHECK (typeof(version) = 'integer' AND version >= 1 AND version <= 9223372036854775806)
);

-- Create index "users_email_key" to table: "users"
CREATE UNIQUE INDEX `users_email_key` ON `users` (`email`);

-- Create index "users_username_key" to table: "users"
CREATE UNIQUE INDEX `users_username_key` ON `users` (`username`);

-- Create index "users_phone_key" to table: "users"
CREATE UNIQUE INDEX `users_phone_key` ON `users` (`phone`);

-- Create index "users_reset_token_key" to table: "users"
CREATE UNIQUE INDEX `users_reset_token_key` ON `users` (`reset_token`);

-- Create index "users_verification_token_key" to table: "users"
CREATE UNIQUE INDEX `users_verification_token_key` ON `users` (`verification_token`);

-- Create index "users_created_at" to table: "users"
CREATE INDEX `users_created_at` ON `users` (`created_at`, `id`, `is_active`, `is_verified`);

-- The audit trail is append-only: entries are deleted by retention alone.
CREATE TRIGGER `account_events_no_update` BEFORE UPDATE ON `account_events` BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END;

CREATE TRIGGER `account_events_no_delete` BEFORE DELETE ON `account_events` BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END;

-- INSERT OR REPLACE deletes without the trigger before.
CREATE TRIGGER `account_events_no_replace` BEFORE INSERT ON `account_events` WHEN EXISTS (SELECT 1 FROM `account_events` WHERE `id` = NEW.`id`) BEGIN SELECT RAISE(ABORT, 'account_events is append-only'); END;
