import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { variableName } from '../../src/config/environment.ts'
import type { GatewayOptions } from '../../src/config/gateway-options.ts'
import { gatewayJsonSchema, type JsonSchema, settingLocations } from '../../src/config/json-schema.ts'
import { resolveGatewayOptions } from '../../src/config/resolve-options.ts'

// Written out so that the compiler compares the documented options with what the checks accept.
const pemTls: GatewayOptions['tls'] = { certificate: 'a', key: 'b', passphraseFile: 'c' }
const pkcs12Tls: GatewayOptions['tls'] = { pkcs12: 'a', passphraseFile: 'b' }
const everyOption: Complete<Omit<GatewayOptions, 'tls'>> & Pick<GatewayOptions, 'tls'> = {
  listen: { address: '::1', port: 8443 },
  tls: pemTls,
  pool: { ipv4: '10.9.0.0/16', ipv6: 'fd77::/64', quarantineSeconds: 1 },
  dns: { servers: ['10.2.0.2'], forward: ['10.2.0.3'], searchDomains: ['a.example'], splitDomains: ['b.example'] },
  routes: { include: ['10.2.0.0/24'], exclude: ['10.2.0.9'], maxRules: 10 },
  egress: {
    mode: 'sockets',
    allow: ['127.0.0.1'],
    ports: '30000-40000',
    addresses: [],
    transit: { ipv4: '10.7.0.1', ipv6: 'fd01::1' },
  },
  auth: { users: 'u', clientCa: 'c', certificateUser: 'uid', require: 'all' },
  access: 'policy.yaml',
  session: {
    maxSeconds: 60,
    idleSeconds: 60,
    dpdSeconds: 1,
    cookieSeconds: 1,
    rekeySeconds: 100,
    maxSessions: 1,
    maxSessionsPerUser: 1,
    rate: { upload: '50 Mbit/s', download: 'none' },
  },
  datagram: { enabled: false, dpdSeconds: 7 },
  mtu: 1300,
  dataPlane: {
    driver: 'auto',
    workers: 1,
    offload: { tun: 'tcp', gso: false, gro: false },
    records: 'node',
    streams: 'node',
  },
  log: { level: 'debug', format: 'json' },
}

test('the published schema is that of the checks; `npm run schema` writes it anew', () => {
  const published = readFileSync(new URL('../../schema/gateway.schema.json', import.meta.url), 'utf8')
  expect(JSON.parse(published)).toEqual(gatewayJsonSchema())
})

test('the typed options are exactly the settings of the schema', () => {
  const names = (value: unknown, path: string[] = []): string[] =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).flatMap(([name, inner]) => names(inner, [...path, name]))
      : [path.join('.')]
  const typed = new Set([...names(everyOption), ...names({ tls: pkcs12Tls })])
  expect([...typed].sort()).toEqual(
    settingLocations()
      .map(({ path }) => path.join('.'))
      .sort(),
  )
})

test('every option can be set', () => {
  const { problems } = resolveGatewayOptions(everyOption, path => path)
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([])
})

test('every setting and section says what it means', () => {
  const silent = (schema: JsonSchema, path: string): string[] => [
    ...(schema.description === undefined ? [path] : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => silent(inner, `${path}.${name}`)),
  ]
  expect(silent(gatewayJsonSchema(), '')).toEqual([])
})

test('every setting has a variable of its own', () => {
  const variables = settingLocations().map(({ path }) => variableName(path))
  expect(new Set(variables).size).toBe(variables.length)
  expect(variables).toContain('TWINBORE_SESSION_MAX_SESSIONS_PER_USER')
})

type Complete<Value> = Value extends readonly unknown[]
  ? Value
  : Value extends object
    ? { [Key in keyof Value]-?: Complete<Exclude<Value[Key], undefined>> }
    : Value
