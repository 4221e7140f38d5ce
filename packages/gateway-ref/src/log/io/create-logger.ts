import { pino } from 'pino'
import type { LogConfig } from '../../config/gateway-config.ts'
import type { LogFields, Logger, LogLevel } from '../logger.ts'
import { redact } from '../redact.ts'
import { textLine } from '../text-line.ts'

/** Where lines go: standard error, or anything like it. */
export interface LogTarget {
  write(text: string): unknown
  readonly isTTY?: boolean | undefined
}

/**
 * A logger over pino: JSON, one object a line (`time` ISO 8601, `level` a word, `msg`, then the fields), or text for
 * people. `auto` is text exactly when the target is a terminal; colours heed `NO_COLOR`.
 */
export function createLogger(
  config: LogConfig,
  target: LogTarget = process.stderr,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Logger {
  const asText = config.format === 'text' || (config.format === 'auto' && target.isTTY === true)
  const color = target.isTTY === true && !environment.NO_COLOR
  const destination = asText ? { write: (line: string) => target.write(toText(line, color)) } : target
  const log = pino(
    {
      level: config.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    { write: (line: string) => void destination.write(line) },
  )
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}) =>
      log[level](redact(fields), message)
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function toText(line: string, color: boolean): string {
  const { time, level, msg, ...fields } = JSON.parse(line) as LogFields & { time: string; level: LogLevel; msg: string }
  return textLine(time, level, msg, fields, color)
}
