-- How often each name is in a file and when last, as JSON: so that the menu of names looks into no
-- file. Null where that is not known, or where there are too many.

ALTER TABLE archive_files ADD COLUMN names text;
