# Atlas reads the desired state from the file that `go generate ./ent` writes, and versions what has to change.
#
#   atlas migrate diff NAME --env postgres     write the next migration
#   atlas migrate lint --env postgres --latest 1
#   atlas migrate status --env postgres        also: apply
#
# The URL of the database is $ACCOUNTS_DATABASE_URL. The dev database, in which Atlas tries the files out, is emptied by it: give
# PostgreSQL one that holds nothing ($ACCOUNTS_DEV_URL, with search_path=public, so that the files do not name a schema);
# SQLite's is in memory.

variable "url" {
  type    = string
  default = getenv("ACCOUNTS_DATABASE_URL")
}

variable "dev_url" {
  type    = string
  default = getenv("ACCOUNTS_DEV_URL")
}

env "postgres" {
  src = "file://ent/migrate/schema.postgres.sql"
  url = var.url
  dev = var.dev_url
  migration {
    dir              = "file://ent/migrate/postgres"
    revisions_schema = "accounts_migrations"
  }
  format {
    migrate {
      # Its statements, run by any program, do not queue for a lock, and others behind them, for longer than this.
      diff = <<-SQL
        SET LOCAL lock_timeout = '5s';
        {{ range .Changes }}{{ with .Comment }}-- {{ . }}
        {{ end }}{{ .Cmd }};
        {{ end -}}
      SQL
    }
  }
}

env "sqlite" {
  src = "file://ent/migrate/schema.sqlite.sql"
  url = var.url
  dev = "sqlite://dev?mode=memory&_fk=1"
  migration {
    dir = "file://ent/migrate/sqlite"
  }
  format {
    migrate {
      diff = "{{ sql . \"  \" }}"
    }
  }
}

lint {
  destructive {
    error = true
  }
  data_depend {
    error = true
  }
}
