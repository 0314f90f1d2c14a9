-- A table of accounts with Flask-Security-Too's usual columns, as SQLAlchemy creates it on PostgreSQL.
CREATE TABLE "user" (
	id SERIAL NOT NULL,
	email VARCHAR(255) NOT NULL,
	username VARCHAR(255),
	password VARCHAR(255),
	active BOOLEAN NOT NULL,
	fs_uniquifier VARCHAR(64) NOT NULL,
	confirmed_at TIMESTAMP WITHOUT TIME ZONE,
	last_login_at TIMESTAMP WITHOUT TIME ZONE,
	current_login_at TIMESTAMP WITHOUT TIME ZONE,
	login_count INTEGER,
	us_phone_number VARCHAR(128),
	create_datetime TIMESTAMP WITHOUT TIME ZONE DEFAULT now() NOT NULL,
	update_datetime TIMESTAMP WITHOUT TIME ZONE DEFAULT now() NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (email),
	UNIQUE (username),
	UNIQUE (fs_uniquifier),
	UNIQUE (us_phone_number)
);
INSERT INTO "user" (email, username, password, active, fs_uniquifier, confirmed_at, current_login_at, us_phone_number, create_datetime, update_datetime) VALUES
	('dora@colmena.org', NULL, NULL, true, 'a', '2026-07-01 10:00:00', '2026-07-02 10:00:00', '+34 600 000 001', '2026-01-01 10:00:00', '2026-07-01 10:00:00'),
	('Dora@Colmena.org', 'dora2', NULL, true, 'b', NULL, NULL, '+34600000001', '2026-01-02 10:00:00', '2026-07-01 10:00:00'),
	('emil@colmena.org', 'emil', NULL, true, 'c', NULL, NULL, '+34-600-000-001', '2026-01-03 10:00:00', '2026-07-01 10:00:00'),
	('fay@colmena.org', 'fay', '', false, 'd', 'infinity', '-infinity', '600 000 002', '2026-01-04 10:00:00', '2026-07-01 10:00:00');
