/** What a log line carries besides its name. A `Secret` in it prints as `[secret]`. */
export type LogFields = Readonly<Record<string, unknown>>

/** Structured log. Events are named noun.verb, for example `refresh.done`. */
export interface Log {
  debug(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  error(event: string, fields?: LogFields): void
}

/** A log that says nothing, for programs that were not asked to. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }
