-- Which ids are one person's, as events have said (archive/links.py); and of each file whether what
-- its events say stands there, and its column `person` is what an SDK says too.

CREATE TABLE person_links (
    app_id int      NOT NULL,
    joined text     NOT NULL, -- this id is one of the person of
    person text     NOT NULL, -- that id
    kind   smallint NOT NULL, -- as of a sign-in (0), an alias (1), or merged on purpose (2)
    at_us  bigint   NOT NULL, -- said first, but a merge last, in us since 1970
    number bigint   GENERATED ALWAYS AS IDENTITY, -- greater than those of what was written before
    PRIMARY KEY (app_id, joined, person, kind)
);

CREATE INDEX person_links_number_idx ON person_links (app_id, number);

-- Without a default: an archiver of the version before, which writes no links, can name no file any
-- more. One of this version archives in its place, and begins with making anew what there is.
ALTER TABLE archive_files ADD COLUMN has_links boolean NOT NULL DEFAULT false;
ALTER TABLE archive_files ALTER COLUMN has_links DROP DEFAULT;
