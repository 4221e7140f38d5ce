import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { formatProblem } from '../../src/config/config-problem.ts'
import type { GatewayOptions } from '../../src/config/gateway-options.ts'
import { loadConfigFile, loadGatewayOptions } from '../../src/config/io/load-config.ts'
import { GatewayError } from '../../src/errors.ts'
import { makeGatewayFiles } from './gateway-files.ts'
import { rightConfiguration, wrongConfigurations } from './wrong-configurations.ts'

let folder: string
beforeAll(async () => {
  folder = await makeGatewayFiles()
})
afterAll(() => rm(folder, { recursive: true }))

describe('a configuration file', () => {
  test('becomes a complete, frozen configuration with absolute paths', async () => {
    const { config, warnings } = await load(rightConfiguration)
    expect(warnings).toEqual([])
    expect(JSON.parse(JSON.stringify(config))).toEqual({
      listen: { address: '0.0.0.0', port: 443 },
      tls: {
        type: 'pem',
        certificate: { file: join(folder, 'site.crt') },
        key: { file: join(folder, 'site.key') },
      },
      pool: { ipv4: '192.168.77.0/24', ipv6: 'fd77:77::/64', quarantineSeconds: 60 },
      dns: { servers: ['10.2.0.2'], forward: [], searchDomains: ['corp.example'], splitDomains: [] },
      routes: { include: ['10.2.0.0/24'], exclude: [], maxRules: 500 },
      egress: {
        mode: 'translate',
        allow: [],
        ports: { first: 20_000, last: 60_999 },
        addresses: [],
        transit: { ipv4: '192.0.0.2', ipv6: 'fd74:7769:6e62:6f72::2' },
      },
      auth: { clientCa: { file: join(folder, 'ca.crt') }, certificateUser: 'cn', require: 'any' },
      session: {
        maxSeconds: 3600,
        idleSeconds: 0,
        dpdSeconds: 30,
        cookieSeconds: 300,
        rekeySeconds: 86_400,
        maxSessions: 4096,
        maxSessionsPerUser: 16,
        rate: {},
      },
      datagram: { enabled: true, dpdSeconds: 5 },
      mtu: 1400,
      dataPlane: {
        driver: 'auto',
        workers: 1,
        offload: { tun: 'all', gso: true, gro: true },
        records: 'auto',
        streams: 'own',
      },
      log: { level: 'info', format: 'auto' },
    })
    expect(Object.isFrozen(config.routes.include)).toBe(true)
  })

  test('needs no more than tls, pool and auth; an empty section is none', async () => {
    const { config } = await load(`
      tls: { certificate: site.crt, key: site.key }
      pool: { ipv4: 192.168.77.0/24 }
      auth: { clientCa: ca.crt }
      dns:
      session:
    `)
    expect(config.listen.port).toBe(443)
    expect(config.pool.ipv6).toBeUndefined()
    expect(config.session.maxSeconds).toBe(3600)
  })

  test('that does not exist is told in one line', async () => {
    const error = await failure(loadConfigFile(join(folder, 'no.yaml')))
    expect(error.message).toBe(`${join(folder, 'no.yaml')}: can't be read: there is no such file`)
  })

  test('that is empty lacks three sections', async () => {
    const error = await failure(load('# nothing yet\n'))
    expect(error.problems.map(({ path }) => path)).toEqual([['tls'], ['pool'], ['auth']])
  })

  test('that is a list is no configuration', async () => {
    const error = await failure(load('- a\n- b\n'))
    expect(error.message).toContain(`'["a","b"]' is not a configuration`)
  })
})

describe('a mistake is told with file, line, setting, value and what would be right', () => {
  test.each(wrongConfigurations)('%j written as %j', async (right, wrong, ...messages) => {
    expect(rightConfiguration).toContain(right)
    const error = await failure(load(rightConfiguration.replace(right, wrong)))
    expect(error.code).toBe('ERR_GATEWAY_CONFIGURATION')
    expect(told(error.message)).toEqual(messages)
  })

  test.each([
    ['old', /the certificate expired on \d{4}-\d\d-\d\d; renew it$/],
    ['future', /the certificate is valid from \d{4}-\d\d-\d\d only; check this host's clock$/],
  ])('a certificate out of its time: %s', async (name, message) => {
    const error = await failure(load(rightConfiguration.replaceAll('site.', `${name}.`)))
    expect(error.message).toMatch(message)
  })
})

describe('a doubtful choice is a warning', () => {
  test.each([
    ['site.', 'ending.', `tls.certificate: the certificate expires on`],
    [
      ', ipv6: fd77:77::/64',
      '',
      `routes.include[1]: 'fd01::/16' has no effect without pool.ipv6; clients have no IPv6 address`,
    ],
    ['10.2.0.0/24', '192.168.0.0/16, 10.2.0.2', `routes.include[0]: '192.168.0.0/16' holds the pool 192.168.77.0/24`],
    [
      'servers: [10.2.0.2]',
      'servers: [10.9.0.2]',
      `dns.servers[0]: '10.9.0.2' is not routed into the tunnel; clients may not reach it: add 10.9.0.2/32 to routes.include`,
    ],
    ['exclude: []', 'exclude: [10.2.0.0/28]', `dns.servers[0]: '10.2.0.2' is not routed into the tunnel`],
    ['exclude: []', 'exclude: [10.2.0.0/16]', `routes.include[0]: '10.2.0.0/24' is wholly excluded by routes.exclude`],
    ['servers: [10.2.0.2]', 'servers: []', `dns.splitDomains: has no effect without dns.servers`],
    [
      'mode: translate',
      'mode: translate, addresses: [10.2.0.9]',
      `egress.addresses: has no IPv6 address; IPv6 clients have no way out`,
    ],
    ['clientCa: ca.crt', 'clientCa: ca.crt, require: all', `auth.require: 'all' has no effect without both`],
    ['clientCa: ca.crt', 'users: users.yaml', 'has no users; add one: twinbore user add NAME --users'],
    ['cookieSeconds: 300', 'cookieSeconds: 7200', `session.cookieSeconds: '7200' has no effect beyond`],
    ['idleSeconds: 0', 'idleSeconds: 5', `session.idleSeconds: '5' ends sessions that only pause`],
  ])('%j written as %j', async (right, wrong, message) => {
    const text = rightConfiguration
      .replace('splitDomains: []', 'splitDomains: [corp.example]')
      .replace('[10.2.0.0/24]', '[10.2.0.0/24, "fd01::/16"]')
    expect(text).toContain(right)
    const { warnings } = await load(text.replaceAll(right, wrong))
    expect(warnings.map(formatProblem).join('\n')).toContain(message)
  })
})

test('a key that everybody can read is a warning', async () => {
  await writeFile(join(folder, 'open.key'), await readFile(join(folder, 'site.key')), { mode: 0o644 })
  const { warnings } = await load(rightConfiguration.replace('site.key', 'open.key'))
  expect(warnings.map(formatProblem).join('\n')).toContain('holds a key that every user of this host can read')
})

test('aliases that unfold without end are refused', async () => {
  const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${[...'bcdefgh']
    .map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]`)
    .join('\n')}\n`
  const error = await failure(load(bomb))
  expect(told(error.message)).toEqual([
    'gateway.yaml:1: not usable YAML: Excessive alias count indicates a resource exhaustion attack',
  ])
})

describe('the environment', () => {
  test('overrides the file, lists separated by commas', async () => {
    const { config } = await load(rightConfiguration, {
      TWINBORE_LISTEN_PORT: '8443',
      TWINBORE_DNS_SERVERS: '10.2.0.3, 10.2.0.4',
      TWINBORE_DNS_SEARCH_DOMAINS: '',
      TWINBORE_DATAGRAM_ENABLED: 'false',
      TWINBORE_EGRESS_TRANSIT_IPV4: '192.0.0.6',
      TWINBORE_MTU: '1300',
      TWINBORE_CONFIG: 'elsewhere.yaml',
      HOME: '/root',
    })
    expect(config.listen.port).toBe(8443)
    expect(config.dns.servers.map(String)).toEqual(['10.2.0.3', '10.2.0.4'])
    expect(config.dns.searchDomains).toEqual([])
    expect(config.datagram.enabled).toBe(false)
    expect(String(config.egress.transit.ipv4)).toBe('192.0.0.6')
    expect(config.mtu).toBe(1300)
  })

  test.each([
    ['TWINBORE_LISTEN_PORT', 'web', `TWINBORE_LISTEN_PORT: 'web' is not a port from 0 to 65535; write e.g. 443`],
    ['TWINBORE_DNS_SERVERS', '10.2.0.3,x', `TWINBORE_DNS_SERVERS: 'x' is not an IP address; write e.g. 10.2.0.2`],
    ['TWINBORE_LISTEN_PROT', '1', 'TWINBORE_LISTEN_PROT: names no setting; did you mean TWINBORE_LISTEN_PORT?'],
    ['TWINBORE_TLS_KEY', 'no.key', `TWINBORE_TLS_KEY: 'DIR/no.key' can't be read: there is no such file`],
  ])('is named in messages: %s=%s', async (name, value, message) => {
    const error = await failure(load(rightConfiguration, { [name]: value }))
    expect(told(error.message)).toEqual([message])
  })

  test('warns of variables of its prefix that it does not know', async () => {
    const { warnings } = await load(rightConfiguration, { TWINBORE_SERVICE_HOST: '10.0.0.1' })
    expect(warnings.map(formatProblem)).toEqual(['warning: TWINBORE_SERVICE_HOST: names no setting'])
  })
})

describe('options of a program', () => {
  test('go through the same checks; PEM text may stand in place of a path', async () => {
    const read = (name: string) => readFile(join(folder, name), 'utf8')
    const options: GatewayOptions = {
      tls: { certificate: await read('site.crt'), key: await read('site.key') },
      pool: { ipv4: '192.168.77.0/24' },
      auth: { clientCa: await read('ca.crt') },
    }
    const { config } = await loadGatewayOptions(options)
    expect(config.listen.port).toBe(443)
    const error = await failure(loadGatewayOptions({ ...options, pool: { ipv4: '192.168.77.0/33' } }))
    expect(error.message).toBe(`pool.ipv4: '192.168.77.0/33' is not an IPv4 prefix; write e.g. 192.168.77.0/24`)
  })

  test('never show a key that was given as text', async () => {
    const tls = { certificate: join(folder, 'site.crt'), key: 'Bag Attributes\n-----BEGIN PRIVATE KEY-----\nCANARY' }
    const error = await failure(loadGatewayOptions({ tls, pool: { ipv4: '192.168.77.0/24' }, auth: {} }))
    expect(error.message).toContain('tls.key: the text given holds no PEM private key')
    expect(error.message).not.toContain('CANARY')
  })
})

async function load(text: string, environment: Record<string, string> = {}) {
  const file = join(folder, 'gateway.yaml')
  await writeFile(file, text)
  return loadConfigFile(file, environment)
}

async function failure(promise: Promise<unknown>): Promise<GatewayError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof GatewayError) return error
  throw new Error(`expected a GatewayError, got ${String(error)}`)
}

// The lines of a message with the folder taken out.
function told(message: string): string[] {
  return message
    .replaceAll(`${join(folder, 'gateway.yaml')}`, 'gateway.yaml')
    .replaceAll(folder, 'DIR')
    .split('\n')
}
