import { describe, expect, test } from 'vitest'
import type { GatewayOptions } from '../../src/config/gateway-options.ts'
import { needsRestart } from '../../src/control-plane/needs-restart.ts'
import { configOf } from '../support/config-of.ts'

const changed = (options: Partial<GatewayOptions>) => needsRestart(configOf(), configOf(options))

describe('a change that running sessions can not follow is named', () => {
  test.each<[string, Partial<GatewayOptions>]>([
    ['listen', { listen: { port: 8443 } }],
    ['listen', { listen: { address: '127.0.0.1' } }],
    ['pool', { pool: { ipv4: '10.77.0.0/23', ipv6: 'fd77::/64' } }],
    ['pool', { pool: { ipv4: '10.77.0.0/24', ipv6: 'fd78::/64' } }],
    ['pool', { pool: { ipv4: '10.77.0.0/24', ipv6: 'fd77::/64', quarantineSeconds: 1 } }],
    ['egress', { egress: { mode: 'kernel' } }],
    ['egress', { egress: { mode: 'translate', addresses: ['203.0.113.9'] } }],
    ['egress', { egress: { allow: ['127.0.0.1'] } }],
    ['dns.forward', { dns: { forward: ['10.9.9.9'] } }],
    ['egress', { egress: { ports: '30000-40000' } }],
    ['auth', { auth: { users: '/nowhere/else.yaml' } }],
    ['mtu', { mtu: 1300 }],
    ['datagram.enabled', { datagram: { enabled: false } }],
    ['session.maxSessions', { session: { maxSessions: 7 } }],
    ['log', { log: { level: 'debug' } }],
  ])('%s', (name, options) => {
    expect(changed(options)).toEqual([name])
  })

  test('several at once', () => {
    expect(changed({ mtu: 1300, listen: { port: 1234 } })).toEqual(['listen', 'mtu'])
  })
})

test.each<[string, Partial<GatewayOptions>]>([
  ['nothing', {}],
  ['the certificate', { tls: { certificate: '/nowhere/new.crt', key: '/nowhere/new.key' } }],
  ['name servers', { dns: { servers: ['10.9.9.9'], splitDomains: ['corp.example'] } }],
  ['routes', { routes: { include: ['10.0.0.0/8'] } }],
  ['times and limits', { session: { maxSeconds: 60, idleSeconds: 5, cookieSeconds: 9, maxSessionsPerUser: 1 } }],
  ['the probe time', { datagram: { dpdSeconds: 9 } }],
])('%s can change at a reload', (_, options) => {
  expect(changed(options)).toEqual([])
})
