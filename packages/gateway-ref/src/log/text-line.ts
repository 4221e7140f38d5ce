import type { LogFields, LogLevel } from './logger.ts'

const colors: Readonly<Record<LogLevel, number>> = { debug: 90, info: 32, warn: 33, error: 31 }

/**
 * One log line for people: time, level, message, then the fields. What strangers can put into fields is made harmless:
 * control characters never reach a terminal.
 *
 * @param time ISO 8601, UTC
 */
export function textLine(time: string, level: LogLevel, message: string, fields: LogFields, color: boolean): string {
  const paint = (code: number, text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text)
  const facts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${paint(90, `${name}=`)}${textValue(value)}`)
  return `${paint(90, time.slice(11, 23))} ${paint(colors[level], level.padEnd(5))} ${printable(message)}${facts.join('')}\n`
}

function textValue(value: LogFields[string]): string {
  const text = Array.isArray(value) ? value.join(',') : String(value)
  return /^[^\s"'=]+$/.test(text) ? printable(text) : `"${printable(text.replace(/["\\]/g, '\\$&'))}"`
}

/** Writes control characters, and those that reorder text, as escapes. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, character => {
    const code = character.codePointAt(0)!
    return code === 9 ? ' ' : `\\u{${code.toString(16)}}`
  })
}
