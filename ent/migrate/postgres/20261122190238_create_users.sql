SET LOCAL lock_timeout = '5s';
-- Create "users" table
CREATE TABLE "users" (
  "id" uuid NOT NULL DEFAULT gen_random_uuid(),
  "email" character varying(255) NOT NULL COLLATE "C",
  "pending_email" character varying(255) NULL COLLATE "C",
  "username" character varying(50) NOT NULL COLLATE "C",
  "hashed_password" character varying(255) NOT NULL,
  "first_name" character varying(50) NULL,
  "last_name" character varying(100) NULL,
  "phone" character varying(20) NULL,
  "is_active" boolean NOT NULL DEFAULT true,
  "is_verified" boolean NOT NULL DEFAULT false,
  "last_login" timestamptz NULL,
  "refresh_tokens" jsonb NOT NULL DEFAULT '[]',
  "failed_login_attempts" integer NOT NULL DEFAULT 0,
  "locked_until" timestamptz NULL,
  "reset_token" character varying(64) NULL,
  "reset_token_expiry" timestamptz NULL,
  "verification_token" character varying(64) NULL,
  "verification_token_expiry" timestamptz NULL,
  "phone_code" character varying(64) NULL,
  "phone_code_expiry" timestamptz NULL,
  "phone_code_attempts" integer NOT NULL DEFAULT 0,
  "phone_verified_at" timestamptz NULL,
  "version" bigint NOT NULL DEFAULT 1,
  "created_at" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY ("id"),
  CONSTRAINT "users_created_at_check" CHECK ((created_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (created_at < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_email_check" CHECK (((email)::text ~~ '_%@_%'::text) AND ((email)::text = lower(((email)::text COLLATE "default"))) AND (email IS NFC NORMALIZED)),
  CONSTRAINT "users_failed_login_attempts_check" CHECK ((failed_login_attempts >= 0) AND (failed_login_attempts <= 2147483647)),
  CONSTRAINT "users_id_check" CHECK (id <> '00000000-0000-0000-0000-000000000000'::uuid),
  CONSTRAINT "users_last_login_check" CHECK ((last_login >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (last_login < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_locked_until_check" CHECK ((locked_until >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (locked_until < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_pending_email_check" CHECK (((pending_email)::text ~~ '_%@_%'::text) AND ((pending_email)::text = lower(((pending_email)::text COLLATE "default"))) AND (pending_email IS NFC NORMALIZED)),
  CONSTRAINT "users_phone_code_attempts_check" CHECK ((phone_code_attempts >= 0) AND (phone_code_attempts <= 2147483647)),
  CONSTRAINT "users_phone_code_expiry_check" CHECK ((phone_code_expiry >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (phone_code_expiry < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_phone_verified_at_check" CHECK ((phone_verified_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (phone_verified_at < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_refresh_tokens_check" CHECK (jsonb_typeof(refresh_tokens) = 'array'::text),
  CONSTRAINT "users_reset_token_expiry_check" CHECK ((reset_token_expiry >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (reset_token_expiry < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_updated_at_check" CHECK ((updated_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (updated_at < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_username_check" CHECK (((username)::text <> ''::text) AND ((username)::text = lower(((username)::text COLLATE "default"))) AND (username IS NFC NORMALIZED)),
  CONSTRAINT "users_verification_token_expiry_check" CHECK ((verification_token_expiry >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (verification_token_expiry < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "users_version_check" CHECK (version >= 1)
);
-- Create index "users_created_at" to table: "users"
CREATE INDEX "users_created_at" ON "users" ("created_at", "id", "is_active", "is_verified");
-- Create index "users_email_key" to table: "users"
CREATE UNIQUE INDEX "users_email_key" ON "users" ("email");
-- Create index "users_phone_key" to table: "users"
CREATE UNIQUE INDEX "users_phone_key" ON "users" ("phone");
-- Create index "users_reset_token_key" to table: "users"
CREATE UNIQUE INDEX "users_reset_token_key" ON "users" ("reset_token");
-- Create index "users_username_key" to table: "users"
CREATE UNIQUE INDEX "users_username_key" ON "users" ("username");
-- Create index "users_verification_token_key" to table: "users"
CREATE UNIQUE INDEX "users_verification_token_key" ON "users" ("verification_token");
-- Create "identities" table
CREATE TABLE "identities" (
  "id" uuid NOT NULL DEFAULT gen_random_uuid(),
  "issuer" character varying(255) NOT NULL COLLATE "C",
  "subject" character varying(255) NOT NULL COLLATE "C",
  "created_at" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "last_used_at" timestamptz NULL,
  "user_id" uuid NOT NULL,
  PRIMARY KEY ("id"),
  CONSTRAINT "identities_user_id_fkey" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE CASCADE,
  CONSTRAINT "identities_created_at_check" CHECK ((created_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (created_at < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "identities_issuer_check" CHECK ((issuer)::text <> ''::text),
  CONSTRAINT "identities_last_used_at_check" CHECK ((last_used_at >= '0001-01-01 00:00:00+00'::timestamp with time zone) AND (last_used_at < '10000-01-01 00:00:00+00'::timestamp with time zone)),
  CONSTRAINT "identities_subject_check" CHECK ((subject)::text <> ''::text)
);
-- Create index "identities_issuer_subject_key" to table: "identities"
CREATE UNIQUE INDEX "identities_issuer_subject_key" ON "identities" ("issuer", "subject");
-- Create index "identities_user_id" to table: "identities"
CREATE INDEX "identities_user_id" ON "identities" ("user_id", "created_at");
-- set storage parameters
ALTER TABLE "users" SET (fillfactor=85, toast_tuple_target=4080);