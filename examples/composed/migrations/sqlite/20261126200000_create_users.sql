-- Create "organizations" table
CREATE TABLE `organizations` (`id` uuid NOT NULL, `name` text NOT NULL, PRIMARY KEY (`id`));
-- Create index "organizations_name_key" to table: "organizations"
CREATE UNIQUE INDEX `organizations_name_key` ON `organizations` (`name`);
-- Create "users" table
CREATE TABLE `users` (`id` uuid NOT NULL DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))), `email` text NOT NULL, `username` text NOT NULL, `hashed_password` text NOT NULL, `first_name` text NULL, `last_name` text NULL, `phone` text NULL, `is_active` bool NOT NULL DEFAULT true, `is_verified` bool NOT NULL DEFAULT false, `last_login` datetime NULL, `refresh_tokens` json NOT NULL DEFAULT '[]', `failed_login_attempts` integer NOT NULL DEFAULT 0, `locked_until` datetime NULL, `reset_token` text NULL, `reset_token_expiry` datetime NULL, `verification_token` text NULL, `verification_token_expiry` datetime NULL, `version` integer NOT NULL DEFAULT 1, `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP, `updated_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP, `org_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `users_organizations_members` FOREIGN KEY (`org_id`) REFERENCES `organizations` (`id`) ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT `users_email_check` CHECK (email = lower(email)), CONSTRAINT `users_failed_login_attempts_check` CHECK (failed_login_attempts >= 0), CONSTRAINT `users_refresh_tokens_check` CHECK (json_type(refresh_tokens) = 'array'), CONSTRAINT `users_username_check` CHECK (username = lower(username)), CONSTRAINT `users_version_check` CHECK (version >= 1));
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
