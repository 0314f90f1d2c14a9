INSERT INTO users (id, email, username, hashed_password)
VALUES ('0b7e1bd2-5cd4-4b3c-9d6a-000000000001', 'least@example.org', 'least', '$2b$10$emvnU9TXofJnBi/vNQKXKeliOe/BZE9kL2ryBYUhJJXhX0IGbVG7q');
UPDATE users SET created_at = '2026-01-02 03:04:05.678901', updated_at = '2026-01-02 03:04:05.678901';
INSERT INTO users (id, email, username, hashed_password, first_name, last_name, phone, is_active, is_verified, last_login,
  refresh_tokens, failed_login_attempts, locked_until, reset_token, reset_token_expiry, verification_token,
  verification_token_expiry, phone_code, phone_code_expiry, phone_code_attempts, phone_verified_at, version, created_at, updated_at)
VALUES ('0b7e1bd2-5cd4-4b3c-9d6a-000000000002', 'josé@xn--mller-kva.example', 'josé', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$Osnh55qh0FwGklXMojH+fg',
  'José', 'Núñez', '+573001112233', false, true, '2026-03-01 17:00:00.000001',
  '["5ADY6cCQopgn5eAVGcpo4A.0mxc8mmm8.rmJ6Ch0Chhlwuz86GVev_zNm1AzVBFeFcez5VYI8Vjo.0mws8gpa8.0mxz3o9a4.0mws8gpa4..Firefox on Linux"]',
  7, '2026-03-01 12:15:00', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '2026-03-01 12:30:00', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', '2026-03-02 12:00:00',
  'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', '2026-03-01 12:10:00', 2, '2026-02-01 08:00:00.5', 42,
  '2025-12-31 23:59:59.999999', '2026-03-01 17:00:00.000001');
INSERT INTO users (id, email, username, hashed_password, refresh_tokens, created_at, updated_at)
VALUES ('0b7e1bd2-5cd4-4b3c-9d6a-000000000003', 'odd@localhost', 'ab', 'not a hash that anything knows', '["of no form"]',
  '1970-01-01 00:00:00', '9999-12-31 23:59:59');
