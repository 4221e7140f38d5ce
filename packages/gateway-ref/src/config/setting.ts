import { IpAddress, Prefix } from '@twinbore/core/address'
import { z } from 'zod'
import { formatValue } from './config-problem.ts'
import type { PemSource } from './gateway-config.ts'

// The kinds of values a setting can have. Each says in one sentence what is wrong and what would be right, so that the
// message of a mistake is complete where the mistake is known.

/** The message of a value that isn't what it should be. */
function wrong(what: string, example: string): { error: (issue: { input?: unknown }) => string } {
  return {
    error: ({ input }) =>
      input === undefined || input === null
        ? `is missing; write e.g. ${example}`
        : `${formatValue(input)} is not ${what}; write e.g. ${example}`,
  }
}

/** Text that `read` turns into a value; `undefined` refuses it, and so does a refusal in its own words. */
export function textSetting<Value>(
  what: string,
  example: string,
  read: (text: string) => Value | undefined | { readonly refusal: string },
): z.ZodType<Value> {
  const message = wrong(what, example)
  return z.string(message).transform((text, context) => {
    const value = read(text)
    if (value === undefined) {
      context.issues.push({ code: 'custom', message: message.error({ input: text }), input: text })
      return z.NEVER
    }
    if (typeof value === 'object' && value !== null && 'refusal' in value) {
      context.issues.push({ code: 'custom', message: `${formatValue(text)} ${value.refusal}`, input: text })
      return z.NEVER
    }
    return value
  })
}

/** A whole number from `from` to `to`. */
export function wholeNumber(from: number, to: number, what: string, example: number): z.ZodType<number> {
  const range = `${what} from ${from} to ${to}`
  const message = {
    error: ({ input }: { input?: unknown }) =>
      typeof input === 'string' && /^\d+$/.test(input)
        ? `${formatValue(input)} is text; write the number without quotes, e.g. ${example}`
        : wrong(range, String(example)).error({ input }),
  }
  return z.int(message).min(from, message).max(to, message)
}

/** Seconds from 0 to a year. */
export function duration(example: number, from = 0): z.ZodType<number> {
  return wholeNumber(from, 31_536_000, 'a number of seconds', example)
}

const bitsOf: Readonly<Record<string, number>> = { k: 1e3, M: 1e6, G: 1e9 }

/** Bits per second from text such as `50 Mbit/s`, from 64 kbit/s; `undefined` for `none`. */
export function readRate(text: string): { readonly bitsPerSecond: number | undefined } | undefined {
  if (text === 'none') return { bitsPerSecond: undefined }
  const match = /^(\d{1,6}(?:\.\d{1,3})?) ?([kMG])bit\/s$/.exec(text)
  const bitsPerSecond = match ? Math.round(Number(match[1]) * bitsOf[match[2]!]!) : 0
  return bitsPerSecond >= LEAST_RATE ? { bitsPerSecond } : undefined
}

/** Slower than this a tunnel is of no use, and its keepalives get lost. */
const LEAST_RATE = 64_000

/** What a limit of a rate may be. */
export const RATE_TEXT = "a rate such as 50 Mbit/s, from 64 kbit/s, or 'none'"

/** Bits per second; `none` is `undefined`. */
export function rate(example: string): z.ZodType<number | undefined> {
  const message = wrong(RATE_TEXT, example)
  return z.string(message).transform((text, context) => {
    const read = readRate(text)
    if (read) return read.bitsPerSecond
    context.issues.push({ code: 'custom', message: message.error({ input: text }), input: text })
    return z.NEVER
  })
}

export function flag(example: boolean): z.ZodType<boolean> {
  return z.boolean(wrong('true or false', String(example)))
}

/** One of some words. `refusals` explains words that other versions know. */
export function word<const Word extends string>(
  words: readonly Word[],
  refusals: Readonly<Record<string, string>> = {},
): z.ZodType<Word> {
  return z.enum(words, {
    error: ({ input }) =>
      typeof input === 'string' && Object.hasOwn(refusals, input)
        ? `'${input}' ${refusals[input]}`
        : input === undefined || input === null
          ? `is missing; write one of ${words.join(', ')}`
          : `${formatValue(input)} is not known; write one of ${words.join(', ')}`,
  })
}

export function address(example: string): z.ZodType<IpAddress> {
  return textSetting('an IP address', example, text => IpAddress.parse(text))
}

/** An address of one family. */
export function familyAddress(family: 4 | 6, example: string): z.ZodType<IpAddress> {
  return textSetting(`an IPv${family} address`, example, text => {
    const value = IpAddress.parse(text)
    return value?.family === family ? value : undefined
  })
}

/** A prefix of either family; a plain address counts as a prefix of one. Bits below the length must be zero. */
export function prefix(example: string): z.ZodType<Prefix> {
  return textSetting('an IP prefix', example, text => readPrefix(text))
}

/** A prefix of one family, with its length written out. */
export function familyPrefix(family: 4 | 6, example: string): z.ZodType<Prefix> {
  return textSetting(`an IPv${family} prefix`, example, text => {
    if (!text.includes('/')) return undefined
    const value = readPrefix(text)
    return value instanceof Prefix && value.family !== family ? undefined : value
  })
}

function readPrefix(text: string): Prefix | undefined | { readonly refusal: string } {
  const value = Prefix.parse(text)
  if (!value) return undefined
  const written = IpAddress.of(text.split('/')[0]!)
  return written.equals(value.address)
    ? value
    : { refusal: `has bits set below its length; write ${value}, or ${written} for the one address` }
}

/** A DNS name such as `corp.example`, without the final dot. */
export function domainName(example: string): z.ZodType<string> {
  const label = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?'
  const name = new RegExp(`^(?=.{1,253}$)${label}(?:\\.${label})*$`, 'i')
  return textSetting('a domain name', example, text => (name.test(text) ? text.toLowerCase() : undefined))
}

/** First and last of a range of ports. */
export function portRange(example: string): z.ZodType<{ readonly first: number; readonly last: number }> {
  return textSetting('a range of ports from 1 to 65535', example, text => {
    const match = /^(\d{1,5})-(\d{1,5})$/.exec(text)
    if (!match) return undefined
    const [first, last] = [Number(match[1]), Number(match[2])]
    return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined
  })
}

export function path(example: string): z.ZodType<string> {
  return textSetting('a path', example, text => (text.trim() === '' || text.includes('\0') ? undefined : text))
}

/** A path, or PEM text itself. */
export function pem(example: string): z.ZodType<PemSource> {
  return textSetting<PemSource>('a path of a PEM file', example, text => {
    if (text.trim() === '' || text.includes('\0')) return undefined
    return text.includes('-----BEGIN') ? { text } : { file: text }
  })
}

/** A list of one kind of value. */
export function list<Value>(item: z.ZodType<Value>, example: string): z.ZodArray<z.ZodType<Value>> {
  return z.array(item, wrong('a list', example))
}

/** A section: only the named settings. Unknown names are told by whoever reads the issues. */
export function section<Shape extends z.ZodRawShape>(
  shape: Shape,
  example: string,
): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: issue => (issue.code === 'invalid_type' ? wrong('a section', example).error(issue) : undefined),
  })
}
