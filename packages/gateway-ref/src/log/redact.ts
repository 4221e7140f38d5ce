import type { LogFields } from './logger.ts'

const secretName =
  /pass(word|phrase)|secret|cookie|token|credential|authorization|^psk|(^|[^a-z])key$|privatekey|appid/i

/**
 * The last net under the rule that secrets are not logged: a field whose name says that it holds one loses its value.
 */
export function redact(fields: LogFields): LogFields {
  const suspects = Object.keys(fields).filter(name => secretName.test(name))
  if (suspects.length === 0) return fields
  return { ...fields, ...Object.fromEntries(suspects.map(name => [name, '[redacted]'])) }
}
