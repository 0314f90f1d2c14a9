-- Create "account_events" table
CREATE TABLE `account_events` (
  `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT,
  `account_id` uuid NOT NULL,
  `kind` text NOT NULL,
  `occurred_at` datetime NOT NULL DEFAULT (CURRENT_TIMESTAMP),
  `request_id` text NULL,
  `client` text NULL,
  `actor` text NULL,
  CONSTRAINT `account_events_kind_check` CHECK (kind <> ''),
  CONSTRAINT `account_events_occurred_at_check` CHECK (occurred_at IS NULL OR occurred_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND occurred_at NOT GLOB '0000*' AND datetime(occurred_at) IS NOT NULL AND length(occurred_at) <= 26 AND substr(occurred_at, 20) NOT GLOB '*[^.0-9]*' AND occurred_at NOT GLOB '*.*0')
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
  CONSTRAINT `identities_created_at_check` CHECK (created_at IS NULL OR created_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND created_at NOT GLOB '0000*' AND datetime(created_at) IS NOT NULL AND length(created_at) <= 26 AND substr(created_at, 20) NOT GLOB '*[^.0-9]*' AND created_at NOT GLOB '*.*0'),
  CONSTRAINT `identities_issuer_check` CHECK (issuer <> ''),
  CONSTRAINT `identities_last_used_at_check` CHECK (last_used_at IS NULL OR last_used_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND last_used_at NOT GLOB '0000*' AND datetime(last_used_at) IS NOT NULL AND length(last_used_at) <= 26 AND substr(last_used_at, 20) NOT GLOB '*[^.0-9]*' AND last_used_at NOT GLOB '*.*0'),
  CONSTRAINT `identities_subject_check` CHECK (subject <> '')
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
  CONSTRAINT `users_created_at_check` CHECK (created_at IS NULL OR created_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND created_at NOT GLOB '0000*' AND datetime(created_at) IS NOT NULL AND length(created_at) <= 26 AND substr(created_at, 20) NOT GLOB '*[^.0-9]*' AND created_at NOT GLOB '*.*0'),
  CONSTRAINT `users_email_check` CHECK (email LIKE '_%@_%' AND email = lower(email)),
  CONSTRAINT `users_failed_login_attempts_check` CHECK (failed_login_attempts >= 0 AND failed_login_attempts <= 2147483647),
  CONSTRAINT `users_id_check` CHECK (id GLOB '????????-????-????-????-????????????' AND id NOT GLOB '*[^-0-9a-f]*' AND id <> '00000000-0000-0000-0000-000000000000'),
  CONSTRAINT `users_last_login_check` CHECK (last_login IS NULL OR last_login GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND last_login NOT GLOB '0000*' AND datetime(last_login) IS NOT NULL AND length(last_login) <= 26 AND substr(last_login, 20) NOT GLOB '*[^.0-9]*' AND last_login NOT GLOB '*.*0'),
  CONSTRAINT `users_locked_until_check` CHECK (locked_until IS NULL OR locked_until GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND locked_until NOT GLOB '0000*' AND datetime(locked_until) IS NOT NULL AND length(locked_until) <= 26 AND substr(locked_until, 20) NOT GLOB '*[^.0-9]*' AND locked_until NOT GLOB '*.*0'),
  CONSTRAINT `users_pending_email_check` CHECK (pending_email LIKE '_%@_%' AND pending_email = lower(pending_email)),
  CONSTRAINT `users_phone_code_attempts_check` CHECK (phone_code_attempts >= 0 AND phone_code_attempts <= 2147483647),
  CONSTRAINT `users_phone_code_expiry_check` CHECK (phone_code_expiry IS NULL OR phone_code_expiry GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND phone_code_expiry NOT GLOB '0000*' AND datetime(phone_code_expiry) IS NOT NULL AND length(phone_code_expiry) <= 26 AND substr(phone_code_expiry, 20) NOT GLOB '*[^.0-9]*' AND phone_code_expiry NOT GLOB '*.*0'),
  CONSTRAINT `users_phone_verified_at_check` CHECK (phone_verified_at IS NULL OR phone_verified_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND phone_verified_at NOT GLOB '0000*' AND datetime(phone_verified_at) IS NOT NULL AND length(phone_verified_at) <= 26 AND substr(phone_verified_at, 20) NOT GLOB '*[^.0-9]*' AND phone_verified_at NOT GLOB '*.*0'),
  CONSTRAINT `users_refresh_tokens_check` CHECK (json_type(refresh_tokens) = 'array'),
  CONSTRAINT `users_reset_token_expiry_check` CHECK (reset_token_expiry IS NULL OR reset_token_expiry GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND reset_token_expiry NOT GLOB '0000*' AND datetime(reset_token_expiry) IS NOT NULL AND length(reset_token_expiry) <= 26 AND substr(reset_token_expiry, 20) NOT GLOB '*[^.0-9]*' AND reset_token_expiry NOT GLOB '*.*0'),
  CONSTRAINT `users_updated_at_check` CHECK (updated_at IS NULL OR updated_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND updated_at NOT GLOB '0000*' AND datetime(updated_at) IS NOT NULL AND length(updated_at) <= 26 AND substr(updated_at, 20) NOT GLOB '*[^.0-9]*' AND updated_at NOT GLOB '*.*0'),
  CONSTRAINT `users_username_check` CHECK (username <> '' AND username = lower(username)),
  CONSTRAINT `users_verification_token_expiry_check` CHECK (verification_token_expiry IS NULL OR verification_token_expiry GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]*' AND verification_token_expiry NOT GLOB '0000*' AND datetime(verification_token_expiry) IS NOT NULL AND length(verification_token_expiry) <= 26 AND substr(verification_token_expiry, 20) NOT GLOB '*[^.0-9]*' AND verification_token_expiry NOT GLOB '*.*0'),
  CONSTRAINT `users_version_check` CHECK (version >= 1)
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
