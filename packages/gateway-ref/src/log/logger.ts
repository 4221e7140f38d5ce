/** How severe a line is. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Facts of a line: plain values only. Passwords, cookies, keys and tokens have no place here. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined | readonly string[]>>

/** Where log lines go. The program writes them with pino; an application that embeds the gateway brings its own. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/** Says nothing: the default of the library. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
