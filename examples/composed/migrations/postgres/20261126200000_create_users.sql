-- Create "organizations" table
CREATE TABLE "organizations" ("id" uuid NOT NULL, "name" character varying NOT NULL, PRIMARY KEY ("id"));
-- Create index "organizations_name_key" to table: "organizations"
CREATE UNIQUE INDEX "organizations_name_key" ON "organizations" ("name");
-- Create "users" table
CREATE TABLE "users" ("id" uuid NOT NULL DEFAULT gen_random_uuid(), "email" character varying(255) NOT NULL COLLATE "C", "username" character varying(50) NOT NULL COLLATE "C", "hashed_password" character varying(255) NOT NULL, "first_name" character varying(50) NULL, "last_name" character varying(100) NULL, "phone" character varying(20) NULL, "is_active" boolean NOT NULL DEFAULT true, "is_verified" boolean NOT NULL DEFAULT false, "last_login" timestamptz NULL, "refresh_tokens" jsonb NOT NULL DEFAULT '[]', "failed_login_attempts" integer NOT NULL DEFAULT 0, "locked_until" timestamptz NULL, "reset_token" character varying(64) NULL, "reset_token_expiry" timestamptz NULL, "verification_token" character varying(64) NULL, "verification_token_expiry" timestamptz NULL, "version" bigint NOT NULL DEFAULT 1, "created_at" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, "updated_at" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, "org_id" uuid NULL, PRIMARY KEY ("id"), CONSTRAINT "users_organizations_members" FOREIGN KEY ("org_id") REFERENCES "organizations" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT, CONSTRAINT "users_email_check" CHECK (((email)::text = lower(((email)::text COLLATE "default"))) AND (email IS NFC NORMALIZED)), CONSTRAINT "users_failed_login_attempts_check" CHECK (failed_login_attempts >= 0), CONSTRAINT "users_refresh_tokens_check" CHECK (jsonb_typeof(refresh_tokens) = 'array'::text), CONSTRAINT "users_username_check" CHECK (((username)::text = lower(((username)::text COLLATE "default"))) AND (username IS NFC NORMALIZED)), CONSTRAINT "users_version_check" CHECK (version >= 1));
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
