import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { IpAddress, Prefix } from '../../src/address/index.ts'
import {
  type HeaderLines,
  readTunnelReply,
  readTunnelRequest,
  type TunnelParameters,
  type TunnelRequest,
  tunnelCookie,
  wantsPsk,
  writeTunnelReply,
  writeTunnelRequest,
} from '../../src/index.ts'
import { ReplyHeadReader } from '../../src/protocol/reply-head.ts'

const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(bytes => IpAddress.fromBytes(bytes))
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => IpAddress.fromBytes(bytes))
const prefix4 = fc.tuple(ipv4, fc.integer({ min: 0, max: 32 })).map(([address, length]) => Prefix.of(address, length))
const prefix6 = fc.tuple(ipv6, fc.integer({ min: 0, max: 128 })).map(([address, length]) => Prefix.of(address, length))
const word = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,20}[A-Za-z0-9])?$/)
const domain = fc
  .stringMatching(/^[a-z0-9]{1,10}(\.[a-z0-9-]{0,5}[a-z0-9]){0,3}$/)
  .filter(name => !/(^|\.)-/.test(name))
const seconds = fc.integer({ min: 0, max: 31_622_400 })
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

/** Removes members that are `undefined`, as exact optional properties want it. */
function compact<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as T
}

describe('CONNECT request', () => {
  const names = fc.array(fc.stringMatching(/^[A-Za-z0-9_.+-]{1,20}$/), { maxLength: 6 })
  const claims = fc
    .record({
      clientVersion: optional(word),
      platform: optional(word),
      platformVersion: optional(word),
      deviceType: optional(word),
      uniqueId: optional(word),
    })
    .map(compact)
  const mtu = optional(fc.integer({ min: 576, max: 16_384 }))
  const request = fc
    .record({
      hostname: optional(word),
      userAgent: optional(word),
      families: fc.constantFrom([true, false], [false, true], [true, true]),
      fullIpv6: fc.boolean(),
      addresses: fc.oneof(fc.constant([]), fc.tuple(ipv4), fc.tuple(ipv6), fc.tuple(ipv4, ipv6), fc.tuple(ipv6, ipv4)),
      baseMtu: mtu,
      mtu,
      streamEncodings: names,
      datagram: optional(fc.record({ cipherSuites: names, dtls12CipherSuites: names, encodings: names })),
      device: claims,
    })
    .map(
      ({ families: [ipv4Wanted, ipv6Wanted], ...rest }) =>
        compact({ ...rest, ipv4: ipv4Wanted!, ipv6: ipv6Wanted! }) as TunnelRequest,
    )

  test('is read as it was written', () => {
    fc.assert(
      fc.property(request, value => {
        const lines = writeTunnelRequest(value, { host: 'gw.example:443', cookie: 'c=1' })
        expect(plain(readTunnelRequest(lines))).toEqual(plain(value))
        expect(tunnelCookie(lines)).toBe('c=1')
      }),
      { numRuns: 500 },
    )
  })

  // The header set of openconnect 9.01.
  test('of the stock client', () => {
    const read = readTunnelRequest([
      ['Host', '127.0.0.1:4433'],
      ['User-Agent', 'Open AnyConnect VPN Agent v9.01-3'],
      ['Cookie', 'webvpn=abc'],
      ['X-CSTP-Version', '1'],
      ['X-CSTP-Hostname', 'vm'],
      ['X-CSTP-Accept-Encoding', 'oc-lz4,lzs'],
      ['X-CSTP-Base-MTU', '1500'],
      ['X-CSTP-MTU', '1390'],
      ['X-CSTP-Address-Type', 'IPv6,IPv4'],
      ['X-CSTP-Address', '192.0.2.7'],
      ['X-CSTP-Address', 'fd00::7'],
      ['X-CSTP-Address', '192.0.2.8'],
      ['X-CSTP-Full-IPv6-Capability', 'true'],
      ['X-DTLS-Master-Secret', 'ab'.repeat(48)],
      ['X-DTLS-CipherSuite', 'PSK-NEGOTIATE:OC-DTLS1_2-AES256-GCM:AES128-SHA'],
      ['X-DTLS12-CipherSuite', 'ECDHE-RSA-AES256-GCM-SHA384'],
      ['X-DTLS-Accept-Encoding', 'oc-lz4,lzs'],
      ['X-AnyConnect-Identifier-Platform', 'android'],
    ])
    expect(plain(read)).toEqual({
      hostname: 'vm',
      userAgent: 'Open AnyConnect VPN Agent v9.01-3',
      ipv4: true,
      ipv6: true,
      fullIpv6: true,
      addresses: ['192.0.2.7', 'fd00::7'],
      baseMtu: 1500,
      mtu: 1390,
      streamEncodings: ['oc-lz4', 'lzs'],
      datagram: {
        cipherSuites: ['PSK-NEGOTIATE', 'OC-DTLS1_2-AES256-GCM', 'AES128-SHA'],
        dtls12CipherSuites: ['ECDHE-RSA-AES256-GCM-SHA384'],
        encodings: ['oc-lz4', 'lzs'],
      },
      device: { platform: 'android' },
    })
    expect(wantsPsk(read)).toBe(true)
    expect(JSON.stringify(read)).not.toContain('abab')
  })

  test.each([
    ['0', 576],
    ['1', 576],
    ['575', 576],
    ['1400', 1400],
    ['16385', 16_384],
    ['99999', 16_384],
    ['100000', undefined],
    ['-1', undefined],
    ['1400 ', 1400],
    ['0x500', undefined],
    ['1e3', undefined],
    ['NaN', undefined],
    ['', undefined],
  ])('X-CSTP-MTU %j is %s', (text, expected) => {
    expect(readTunnelRequest([['X-CSTP-MTU', text]]).mtu).toBe(expected)
    expect(readTunnelRequest([['X-CSTP-Base-MTU', text]]).baseMtu).toBe(expected)
  })

  test('without anything is a plain IPv4 one', () => {
    expect(readTunnelRequest([])).toEqual({
      ipv4: true,
      ipv6: false,
      fullIpv6: false,
      addresses: [],
      streamEncodings: [],
      device: {},
    })
    expect(wantsPsk(readTunnelRequest([['X-DTLS-CipherSuite', 'AES128-SHA']]))).toBe(false)
  })
})

describe('reply to CONNECT', () => {
  const timers = {
    dpdSeconds: seconds,
    keepaliveSeconds: seconds,
    rekeySeconds: seconds,
    rekeyMethod: fc.constantFrom('none', 'ssl', 'new-tunnel'),
  } as const
  const interface4 = fc.record({
    address: ipv4,
    netmask: fc.integer({ min: 0, max: 32 }).map(length => Prefix.of(IpAddress.of('0.0.0.0'), length).netmask),
  })
  const interface6 = fc.record({ address: ipv6, prefixLength: fc.integer({ min: 0, max: 128 }) })
  // Both families or none, since a missing one is filled in.
  const include = fc.oneof(
    fc.constant([]),
    fc
      .tuple(prefix4, prefix6, fc.array(fc.oneof(prefix4, prefix6), { maxLength: 8 }))
      .map(([a, b, more]) => [a, b, ...more]),
  )
  const parameters = fc
    .record({
      addresses: fc.oneof(
        fc.record({ ipv4: interface4 }),
        fc.record({ ipv6: interface6 }),
        fc.record({ ipv4: interface4, ipv6: interface6 }),
      ),
      dns: fc
        .record({
          servers: fc.array(fc.oneof(ipv4, ipv6), { maxLength: 6 }),
          searchDomains: fc.array(domain, { maxLength: 4 }),
          splitDomains: fc.array(domain, { maxLength: 4 }),
          tunnelAll: fc.boolean(),
          winsServers: optional(fc.array(ipv4, { minLength: 1, maxLength: 3 })),
        })
        .map(compact),
      routes: fc.record({ include, exclude: fc.array(fc.oneof(prefix4, prefix6), { maxLength: 6 }) }),
      mtu: fc.integer({ min: 1280, max: 16_384 }),
      baseMtu: fc.integer({ min: 576, max: 16_384 }),
      stream: fc.record(timers),
      datagram: optional(
        fc.record({
          ...timers,
          port: fc.integer({ min: 1, max: 65_535 }),
          appId: fc.uint8Array({ minLength: 32, maxLength: 32 }),
        }),
      ),
      idleSeconds: seconds,
      sessionSeconds: seconds,
      sessionRemainingSeconds: seconds,
      disconnectedSeconds: seconds,
      clientBypass: fc.boolean(),
      banner: optional(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 })),
      hostname: optional(word),
      serverName: optional(word),
      dynamicDns: optional(fc.constant(true)),
      proxy: optional(
        fc
          .record({
            pacUrl: optional(fc.webUrl()),
            server: fc.constant('proxy.corp:8080'),
            exceptions: optional(fc.array(domain, { minLength: 1, maxLength: 3 })),
          })
          .map(compact),
      ),
    })
    .map(({ addresses, ...rest }) => compact({ ...addresses, ...rest }) as TunnelParameters)

  test.each([true, false])('is read as it was written (full IPv6 capability: %s)', fullIpv6 => {
    fc.assert(
      fc.property(parameters, value => {
        expect(plain(readTunnelReply(writeTunnelReply(value, { fullIpv6 })))).toEqual(plain(value))
      }),
      { numRuns: 400 },
    )
  })

  const sample: TunnelParameters = {
    ipv4: { address: IpAddress.of('192.168.77.10'), netmask: IpAddress.of('255.255.255.0') },
    ipv6: { address: IpAddress.of('fd77:77::10'), prefixLength: 64 },
    dns: {
      servers: [IpAddress.of('10.2.0.2'), IpAddress.of('fd02::2')],
      searchDomains: ['corp.example', 'example.org'],
      splitDomains: ['intra.example'],
      tunnelAll: false,
    },
    routes: {
      include: [Prefix.parse('10.2.0.0/24')!],
      exclude: [Prefix.parse('10.2.0.128/25')!, Prefix.parse('fd09::/16')!],
    },
    mtu: 1400,
    baseMtu: 1500,
    stream: { dpdSeconds: 30, keepaliveSeconds: 20, rekeySeconds: 86_400, rekeyMethod: 'new-tunnel' },
    datagram: {
      dpdSeconds: 10,
      keepaliveSeconds: 20,
      rekeySeconds: 86_410,
      rekeyMethod: 'new-tunnel',
      port: 4443,
      appId: new Uint8Array(32).fill(0xa5),
    },
    idleSeconds: 0,
    sessionSeconds: 3600,
    sessionRemainingSeconds: 1800,
    disconnectedSeconds: 300,
    clientBypass: false,
    banner: 'Hello',
    hostname: 'vm',
  }

  test('has the exact spelling that stock clients compare with', () => {
    const text = writeTunnelReply(sample, { fullIpv6: true }).map(([name, value]) => `${name}: ${value}`)
    for (const line of [
      'X-CSTP-Version: 1',
      'X-CSTP-Hostname: vm',
      'X-CSTP-DPD: 30',
      'X-CSTP-Default-Domain: corp.example example.org',
      'X-CSTP-Address: 192.168.77.10',
      'X-CSTP-Netmask: 255.255.255.0',
      'X-CSTP-Address-IP6: fd77:77::10/64',
      'X-CSTP-DNS: 10.2.0.2',
      'X-CSTP-DNS-IP6: fd02::2',
      'X-CSTP-Split-DNS: intra.example',
      'X-CSTP-Tunnel-All-DNS: false',
      'X-CSTP-Split-Include: 10.2.0.0/255.255.255.0',
      'X-CSTP-Split-Include-IP6: fd77:77::10/128',
      'X-CSTP-Split-Exclude: 10.2.0.128/255.255.255.128',
      'X-CSTP-Split-Exclude-IP6: fd09::/16',
      'X-CSTP-Client-Bypass-Protocol: false',
      'X-CSTP-Keepalive: 20',
      'X-CSTP-Idle-Timeout: none',
      'X-CSTP-Smartcard-Removal-Disconnect: true',
      'X-CSTP-Rekey-Time: 86400',
      'X-CSTP-Rekey-Method: new-tunnel',
      'X-CSTP-Session-Timeout: 3600',
      'X-CSTP-Session-Timeout-Remaining: 1800',
      'X-CSTP-Disconnected-Timeout: 300',
      'X-CSTP-Keep: true',
      'X-CSTP-TCP-Keepalive: true',
      'X-CSTP-License: accept',
      'X-CSTP-Banner: Hello',
      'X-DTLS-DPD: 10',
      'X-DTLS-Keepalive: 20',
      'X-DTLS-Port: 4443',
      'X-DTLS-Rekey-Time: 86410',
      'X-DTLS-Rekey-Method: new-tunnel',
      `X-DTLS-App-ID: ${'a5'.repeat(32)}`,
      'X-DTLS-CipherSuite: PSK-NEGOTIATE',
      'X-CSTP-Base-MTU: 1500',
      'X-CSTP-MTU: 1400',
    ]) {
      expect(text).toContain(line)
    }
  })

  test('a client of the older kind gets IPv6 in the lines of IPv4', () => {
    const lines = writeTunnelReply(sample, { fullIpv6: false })
    const values = (name: string) => lines.filter(([key]) => key === name).map(([, value]) => value)
    expect(values('X-CSTP-Address')).toEqual(['192.168.77.10', 'fd77:77::10'])
    expect(values('X-CSTP-Netmask')).toEqual(['255.255.255.0', 'fd77:77::/64'])
    expect(values('X-CSTP-Address-IP6')).toEqual([])
  })

  // The reply of ocserv 1.1.6, in its own order and spelling.
  test('of the stock gateway', () => {
    const read = readTunnelReply([
      ['X-CSTP-Version', '1'],
      ['X-CSTP-Server-Name', 'ocserv 1.1.6'],
      ['X-CSTP-DPD', '90'],
      ['X-CSTP-Default-Domain', 'example.com'],
      ['X-CSTP-Address', '192.168.91.106'],
      ['X-CSTP-Netmask', '255.255.255.0'],
      ['X-CSTP-Address-IP6', 'fda9::8849/128'],
      ['X-CSTP-DNS', '10.92.0.1'],
      ['X-CSTP-DNS', 'fd92::53'],
      ['X-CSTP-Split-Include', '10.92.0.0/255.255.255.0'],
      ['X-CSTP-Split-Include', '10.93.0.0/16'],
      ['X-CSTP-Split-Exclude', '0.0.0.0/255.255.255.255'],
      ['X-CSTP-Idle-Timeout', 'none'],
      ['X-CSTP-MSIE-Proxy-Pac-URL', 'http://p/pac'],
      ['X-CSTP-Rekey-Time', '172801'],
      ['X-CSTP-Rekey-Method', 'ssl'],
      ['X-DTLS-Port', '4433'],
      ['X-DTLS-App-ID', '0F'.repeat(32)],
      ['X-DTLS-CipherSuite', 'PSK-NEGOTIATE'],
      ['X-CSTP-Base-MTU', '1500'],
      ['X-CSTP-MTU', '1434'],
    ])
    expect(plain(read)).toMatchObject({
      ipv4: { address: '192.168.91.106', netmask: '255.255.255.0' },
      ipv6: { address: 'fda9::8849', prefixLength: 128 },
      dns: { servers: ['10.92.0.1', 'fd92::53'], searchDomains: ['example.com'] },
      routes: { include: ['10.92.0.0/24', '10.93.0.0/16'], exclude: ['0.0.0.0/32'] },
      mtu: 1434,
      stream: { dpdSeconds: 90, rekeySeconds: 172_801, rekeyMethod: 'ssl' },
      datagram: { port: 4433, rekeyMethod: 'none' },
      proxy: { pacUrl: 'http://p/pac' },
    })
    expect(read?.datagram?.appId).toEqual(new Uint8Array(32).fill(15))
  })

  test('the smallest one that stock clients take', () => {
    const read = readTunnelReply([
      ['X-CSTP-Address', '10.0.0.1'],
      ['X-CSTP-MTU', '1400'],
    ])
    expect(plain(read)).toMatchObject({
      ipv4: { address: '10.0.0.1', netmask: '255.255.255.255' },
      mtu: 1400,
      baseMtu: 1400,
    })
    expect(read).not.toHaveProperty('datagram')
  })

  const address = ['X-CSTP-Address', '10.0.0.1'] as const
  const mtu = ['X-CSTP-MTU', '1400'] as const
  test.each<[string, HeaderLines]>([
    ['no MTU', [address]],
    ['a wrong MTU', [address, ['X-CSTP-MTU', '-5']]],
    ['no address', [mtu]],
    ['a wrong address', [mtu, ['X-CSTP-Address', '10.0.0.256']]],
    [
      'only IPv6 with too small an MTU',
      [
        ['X-CSTP-Address-IP6', 'fd00::1/64'],
        ['X-CSTP-MTU', '1279'],
      ],
    ],
  ])('%s is no tunnel', (_, lines) => {
    expect(readTunnelReply(lines)).toBeUndefined()
  })

  test('the datagram channel takes a key exporter, an App-ID and a port', () => {
    const good: HeaderLines = [
      address,
      mtu,
      ['X-DTLS-Port', '443'],
      ['X-DTLS-App-ID', 'ab'.repeat(32)],
      ['X-DTLS-CipherSuite', 'PSK-NEGOTIATE'],
    ]
    expect(readTunnelReply(good)).toHaveProperty('datagram')
    const spoiled: [string, string][] = [
      ['X-DTLS-Port', '0'],
      ['X-DTLS-Port', '65536'],
      ['X-DTLS-App-ID', 'ab'.repeat(31)],
      ['X-DTLS-App-ID', 'zz'.repeat(32)],
      ['X-DTLS-CipherSuite', 'AES128-SHA'],
    ]
    for (const [name, value] of spoiled) {
      const lines = good.map(line => (line[0] === name ? ([name, value] as const) : line))
      expect(readTunnelReply(lines)).not.toHaveProperty('datagram')
    }
  })

  test('lists are bounded, names are checked', () => {
    const many: [string, string][] = [[...address], [...mtu]]
    for (let i = 0; i < 20_000; i++) many.push(['X-CSTP-Split-Include', `10.${i >> 8}.${i & 255}.0/24`])
    for (let i = 0; i < 2000; i++) many.push(['X-CSTP-Split-DNS', `d${i}.example`], ['X-CSTP-DNS', '10.0.0.1'])
    many.push(['X-CSTP-Default-Domain', 'ok.example $(reboot) -x a..b'], ['X-CSTP-Banner', 'x'.repeat(100_000)])
    const read = readTunnelReply(many)
    expect(read?.routes.include).toHaveLength(16_384)
    expect(read?.dns.splitDomains).toHaveLength(1024)
    expect(read?.dns.servers).toHaveLength(16)
    expect(read?.dns.searchDomains).toEqual(['ok.example'])
    expect(read?.banner).toHaveLength(4096)
  })

  test('no text of a value breaks out of its line', () => {
    const lines = writeTunnelReply({ ...sample, hostname: 'a\r\nX-Evil: 1', banner: 'a\nb' }, { fullIpv6: true })
    for (const [, value] of lines) expect(value).not.toMatch(/[\r\n]/)
    expect(readTunnelReply(lines)?.banner).toBe('a\nb')
  })
})

describe('reading the head of a reply', () => {
  const head = 'HTTP/1.1 200 CONNECTED\r\nX-CSTP-MTU: 1400\r\nX-Empty:\r\nX-CSTP-Banner: a: b\r\n\r\n'

  test('in whatever pieces it comes, with the tunnel behind it', () => {
    const bytes = new TextEncoder().encode(`${head}STF`)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 5 }), cuts => {
        const reader = new ReplyHeadReader()
        const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length]
        let rest: number[] | undefined
        for (let i = 1; i < edges.length; i++) {
          const piece = bytes.subarray(edges[i - 1], edges[i])
          if (rest) {
            rest.push(...piece)
            continue
          }
          const result = reader.push(piece)
          if (typeof result === 'string') expect(result).toBe('incomplete')
          else {
            expect(result).toMatchObject({
              status: 200,
              reason: 'CONNECTED',
              headers: [
                ['X-CSTP-MTU', '1400'],
                ['X-Empty', ''],
                ['X-CSTP-Banner', 'a: b'],
              ],
            })
            rest = [...result.rest]
          }
        }
        expect(new TextDecoder().decode(Uint8Array.from(rest!))).toBe('STF')
      }),
    )
  })

  test('of five thousand lines', () => {
    const lines = Array.from(
      { length: 5000 },
      (_, i) => `X-CSTP-Split-Include: 10.${i >> 8}.${i & 255}.0/255.255.255.0\r\n`,
    )
    const result = new ReplyHeadReader().push(new TextEncoder().encode(`HTTP/1.1 200 OK\r\n${lines.join('')}\r\n`))
    expect(typeof result === 'object' && result.headers).toHaveLength(5000)
  })

  test.each([
    'HTTP/2 200 OK\r\n\r\n',
    'HTTP/1.1 99 x\r\n\r\n',
    'SSH-2.0-x\r\n\r\n',
    'HTTP/1.1 200 OK\r\n folded\r\n\r\n',
    'HTTP/1.1 200 OK\r\nno colon\r\n\r\n',
    '\r\n\r\n',
  ])('%j is malformed', text => {
    const reader = new ReplyHeadReader()
    expect(reader.push(new TextEncoder().encode(text))).toBe('malformed')
    expect(reader.push(new Uint8Array(1))).toBe('malformed')
  })

  test('ends at its limit', () => {
    const reader = new ReplyHeadReader(10_000)
    const piece = new TextEncoder().encode('a'.repeat(999))
    let result = reader.push(piece)
    for (let i = 0; i < 10; i++) result = reader.push(piece)
    expect(result).toBe('malformed')
  })
})

/** Addresses and prefixes as text, so that lazily filled members don't count. */
function plain(value: unknown): unknown {
  if (value instanceof IpAddress || value instanceof Prefix) return value.toString()
  if (value instanceof Uint8Array) return [...value]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]))
}
