import { z } from 'zod'
import { formatValue } from '../config/config-problem.ts'
import { address, flag, list, section, textSetting } from '../config/setting.ts'
import type { YamlSource } from '../config/yaml-source.ts'
import type { AccessFacts } from './access-policy.ts'
import { type ReadBySchema, readBySchema } from './read-by-schema.ts'

/** Facts as people write them, for explaining and testing policies. */
export interface WrittenFacts {
  readonly user?: string | undefined
  readonly groups?: readonly string[] | undefined
  readonly method?: string | undefined
  readonly authenticator?: string | undefined
  readonly claims?: Readonly<Record<string, unknown>> | undefined
  readonly device?: AccessFacts['device'] | undefined
  readonly userAgent?: string | undefined
  readonly address?: AccessFacts['address']
  /** A moment with its zone, RFC 3339. */
  readonly at?: string | undefined
}

const text = (what: string, example: string) => textSetting<string>(what, example, value => value)

const claims = z.record(z.string(), z.unknown(), {
  error: ({ input }) => `${formatValue(input)} is not a section of claims; write e.g. { tid: corp }`,
})

const momentPattern =
  /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/
const moment = textSetting<string>('a moment with its zone', '2026-11-25T10:00:00+01:00', value =>
  momentPattern.test(value) ? value : undefined,
)

export const factsSchema: z.ZodType<WrittenFacts> = section(
  {
    user: text('a user name', 'anna').optional(),
    groups: list(text('a group name', 'staff'), '[staff]').optional(),
    method: text('a login method', 'token').optional(),
    authenticator: text('the name of an authenticator', 'local').optional(),
    claims: claims.optional(),
    device: section(
      {
        id: text('a device id', '5f1d2c').optional(),
        platform: text('a platform', 'linux-64').optional(),
        compliant: flag(true).optional(),
        managed: flag(true).optional(),
      },
      '{ compliant: true }',
    ).optional(),
    userAgent: text('a user agent', 'twinbore/1.0').optional(),
    address: address('203.0.113.7').optional(),
    at: moment.optional(),
  },
  '{ user: anna, groups: [staff] }',
)

/** Completes what was written with what is most usual. @param now - the wall clock at `at`, ms */
export function accessFacts(written: WrittenFacts, now: number): AccessFacts {
  return {
    username: written.user ?? 'someone',
    groups: written.groups ?? [],
    method: written.method ?? (written.claims ? 'token' : 'password'),
    authenticator: written.authenticator ?? (written.claims ? 'oidc' : 'local'),
    claims: written.claims ?? {},
    device: written.device ?? {},
    userAgent: written.userAgent,
    address: written.address,
    now,
  }
}

/** Reads a file of facts; an empty one has none. */
export function readFacts(yaml: YamlSource): ReadBySchema<WrittenFacts> {
  return readBySchema(factsSchema, { ...yaml, value: yaml.value ?? {} })
}
