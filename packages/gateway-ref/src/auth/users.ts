import { IpAddress } from '@twinbore/core/address'
import { type ConfigPath, type ConfigProblem, formatValue } from '../config/config-problem.ts'
import { RATE_TEXT, readRate } from '../config/setting.ts'
import { unknownKey } from '../config/suggestion.ts'
import type { YamlSource } from '../config/yaml-source.ts'
import type { UserRate } from './authenticator.ts'
import { fromBase32 } from './base32.ts'
import { type PasswordRecord, parsePasswordRecord } from './password-record.ts'

/** One user of the users file. */
export interface User {
  readonly name: string
  /** Absent: this user can't log in with a password. */
  readonly password: PasswordRecord | undefined
  /** Secret of the one-time codes, the second step; absent: there is none. */
  readonly otpSecret: Uint8Array | undefined
  readonly groups: readonly string[]
  readonly disabled: boolean
  readonly addresses: readonly IpAddress[]
  /** What it says goes before the configuration. */
  readonly rate: UserRate | undefined
}

/** What a users file holds. Problems are errors, each with its line; users with a problem are left out. */
export interface UsersTable {
  readonly users: ReadonlyMap<string, User>
  readonly problems: readonly ConfigProblem[]
}

const knownKeys = ['password', 'otp', 'groups', 'disabled', 'addresses', 'rate']

/** Whether a name can stand in a users file: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, the first a letter or digit. */
export function isUsersFileName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/.test(name) && !name.includes('..')
}

/** Reads the users of a YAML file. Values of secrets never appear in a problem. */
export function readUsers(yaml: YamlSource): UsersTable {
  const users = new Map<string, User>()
  const problems: ConfigProblem[] = [...yaml.problems]
  const report = (path: ConfigPath, message: string) => {
    problems.push({ severity: 'error', path: path.map(shown), message, source: yaml.locate(path) })
  }
  const content = yaml.value ?? {}
  if (!isRecord(content)) {
    report([], 'is not a list of users; write e.g. anna: { password: ... }, or use `twinbore user add`')
    return { users, problems }
  }
  for (const [name, value] of Object.entries(content)) {
    const before = problems.length
    const user = readUser(name, value, (path, message) => report([name, ...path], message))
    if (problems.length === before) users.set(name, user)
  }
  return { users, problems }
}

/** After a slip of the pen, a secret may stand where a name should. */
function shown(step: string | number, depth: number): string | number {
  if (typeof step === 'number') return step
  return (depth === 0 ? /^[\w.@+ -]{1,64}$/ : /^[\w-]{1,16}$/).test(step) ? step : '(...)'
}

function readUser(name: string, value: unknown, report: (path: ConfigPath, message: string) => void): User {
  if (!isUsersFileName(name)) report([], 'is not a user name; use 1 to 64 of A-Z a-z 0-9 . _ @ + -')
  if (!isRecord(value)) report([], 'is not a user; write e.g. { password: ... }, or use `twinbore user add`')
  const record = isRecord(value) ? value : {}
  for (const key of Object.keys(record)) {
    if (knownKeys.includes(key)) continue
    report([key], unknownKey(key, knownKeys))
  }
  return {
    name,
    password: readPassword(name, record.password, report),
    otpSecret: readOtpSecret(record.otp, report),
    groups: readList(record.groups, 'groups', report, text =>
      /^[\p{L}\p{N}][\p{L}\p{N}._ @+-]{0,63}$/u.test(text) ? text : undefined,
    ),
    disabled: readFlag(record.disabled, report),
    addresses: readList(record.addresses, 'addresses', report, text => IpAddress.parse(text)),
    rate: readRates(record.rate, report),
  }
}

type Report = (path: ConfigPath, message: string) => void

function readPassword(name: string, value: unknown, report: Report): PasswordRecord | undefined {
  if (value === undefined || value === null) return undefined
  const record = typeof value === 'string' ? parsePasswordRecord(value) : undefined
  if (!record) report(['password'], `is not a scrypt record; set it with \`twinbore user set-password ${name}\``)
  return record
}

function readOtpSecret(value: unknown, report: Report): Uint8Array | undefined {
  if (value === undefined || value === null) return undefined
  const text = isRecord(value) ? value.secret : undefined
  const secret = typeof text === 'string' ? fromBase32(text) : undefined
  // RFC 4226 §4 R6: at least 128 bits.
  if (secret && secret.length >= 16) return secret
  report(['otp'], 'holds no secret of 16 bytes or more in base32; write e.g. { secret: ... }, 26 letters or more')
  return undefined
}

function readRates(value: unknown, report: Report): UserRate | undefined {
  if (value === undefined || value === null) return undefined
  if (!isRecord(value)) {
    report(['rate'], `${formatValue(value)} is not a section; write e.g. { upload: 50 Mbit/s, download: none }`)
    return undefined
  }
  const rates: { upload?: number; download?: number } = {}
  for (const [key, text] of Object.entries(value)) {
    const read = typeof text === 'string' ? readRate(text) : undefined
    if (key !== 'upload' && key !== 'download') report(['rate', key], 'unknown key; known here: upload, download')
    else if (!read) report(['rate', key], `${formatValue(text)} is not ${RATE_TEXT}`)
    else rates[key] = read.bitsPerSecond ?? Number.POSITIVE_INFINITY
  }
  return rates
}

function readFlag(value: unknown, report: Report): boolean {
  if (value === undefined || value === null) return false
  if (typeof value !== 'boolean') report(['disabled'], `${formatValue(value)} is not true or false`)
  return value === true
}

function readList<Item>(
  value: unknown,
  key: 'groups' | 'addresses',
  report: Report,
  read: (text: string) => Item | undefined,
): Item[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) {
    report([key], `${formatValue(value)} is not a list`)
    return []
  }
  return value.flatMap((text, i) => {
    const item = typeof text === 'string' ? read(text) : undefined
    if (item === undefined)
      report([key, i], `${formatValue(text)} is not ${key === 'groups' ? 'a group name' : 'an IP address'}`)
    return item === undefined ? [] : [item]
  })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
