-- Of which parameter a file's column `person` is: an app's may change.

ALTER TABLE archive_files ADD COLUMN user_field text NOT NULL DEFAULT 'user_id';
