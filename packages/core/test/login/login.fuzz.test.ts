import { describe, expect, test } from 'vitest'
import { readTunnelReply, readTunnelRequest, SessionRegistry } from '../../src/index.ts'
import { ClientLogin } from '../../src/protocol/client-login.ts'
import type { CredentialsAnswer } from '../../src/protocol/credentials.ts'
import type { HeaderLines } from '../../src/protocol/http-message.ts'
import { writeLoginReply } from '../../src/protocol/login-reply.ts'
import { ReplyHeadReader } from '../../src/protocol/reply-head.ts'
import { type Random, randomBelow, seededRandom } from '../../src/runtime/index.ts'
import { answers, init, LoginWorld, vpnClient } from './support/login-world.ts'

const seed = Number(process.env.FUZZ_SEED ?? 20_260_801)
const runs = Number(process.env.FUZZ_RUNS ?? 20_000)

/** Names the run that failed, so that it can be repeated: FUZZ_SEED and FUZZ_RUNS. */
function fuzz(body: (random: Random, run: number) => void): void {
  const random = seededRandom(seed)
  for (let run = 0; run < runs; run++) {
    try {
      body(random, run)
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed} failed in run ${run}`, { cause: error })
    }
  }
}

const snippets = [
  '<',
  '</',
  '/>',
  '&amp;',
  '&#x0;',
  '&#65;',
  ']]>',
  '<![CDATA[',
  '<!--',
  '"',
  '\0',
  '\r\n',
  '%s',
  '%',
  '=',
  ';',
  '../',
  'a'.repeat(300),
  '\ud800',
  '1e9',
  '-1',
  '99999999999',
]

function mutate(random: Random, text: string): string {
  let result = text
  for (let i = randomBelow(random, 4); i >= 0; i--) {
    const at = randomBelow(random, result.length + 1)
    const length = randomBelow(random, 12)
    const kind = randomBelow(random, 4)
    const insert =
      kind === 0
        ? snippets[randomBelow(random, snippets.length)]!
        : kind === 1
          ? String.fromCharCode(randomBelow(random, 256))
          : kind === 2
            ? result.slice(at, at + length * 20)
            : ''
    result = result.slice(0, at) + insert + result.slice(kind === 1 ? at : at + length)
  }
  return result.slice(0, 70_000)
}

function mutateHeaders(random: Random, headers: HeaderLines): HeaderLines {
  return headers.flatMap(line => {
    const kind = randomBelow(random, 8)
    if (kind === 0) return []
    if (kind === 1) return [line, line]
    if (kind === 2) return [[line[0], mutate(random, line[1])] as const]
    return [line]
  })
}

const pick = <T>(random: Random, items: readonly T[]): T => items[randomBelow(random, items.length)]!
const decode = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes ?? new Uint8Array(0))
const encode = (text: string) => new TextEncoder().encode(text)

describe('mutated input', { timeout: 120_000 + runs * 10 }, () => {
  test('to GatewayLogin: every request gets exactly one reply, and what is remembered stays bounded', () => {
    const world = new LoginWorld({
      methods: ['certificate', 'password'],
      groups: [{ value: 'a' }, { value: 'b' }],
      maxPending: 200,
      maxPendingPerAddress: 20,
    })
    const bases = [init(), init('b'), answers({ username: 'alice', password: 'secret' }), answers({ password: '1' })]
    const form = {
      headers: [['Content-Type', 'application/x-www-form-urlencoded']],
      body: encode('username=a&password=b&group_list=a'),
    } as const
    const verdicts: CredentialsAnswer[] = [
      { verdict: 'accept' },
      { verdict: 'reject' },
      { verdict: 'unavailable' },
      { verdict: 'challenge', message: 'Code' },
    ]
    let lastHandle = 'A'.repeat(43)
    const waiting = new Set<number>()
    fuzz(random => {
      const base = pick(random, [...bases, form])
      const cookie = randomBelow(random, 2) === 0 ? [['Cookie', `webvpncontext=${lastHandle}`] as const] : []
      const known = world.checks.length
      const exchange = world.send({
        ...base,
        method: pick(random, ['POST', 'POST', 'POST', 'GET', 'PUT']),
        path: pick(random, ['/', '/auth', mutate(random, '/auth')]),
        headers: mutateHeaders(random, [...(base.headers ?? vpnClient), ...cookie]),
        body: encode(mutate(random, decode(base.body))),
        remoteAddress: `192.0.2.${randomBelow(random, 30)}`,
        ...(randomBelow(random, 4) === 0
          ? { peerCertificate: { commonNames: [mutate(random, 'alice')], userIds: [], emails: [], fingerprint: '00' } }
          : {}),
      })
      if (world.checks.length > known) {
        if (randomBelow(random, 10) > 0) world.answer(pick(random, verdicts))
        else if (randomBelow(random, 2) === 0) world.login.abandonExchange(exchange)
        else waiting.add(exchange)
      }
      const reply = world.replies.get(exchange)
      if (reply?.cookies.webvpncontext) lastHandle = reply.cookies.webvpncontext
      if (!waiting.has(exchange)) world.replies.delete(exchange)
      if (randomBelow(random, 50) === 0) world.advance(5_000)
      expect(world.login.size).toBeLessThanOrEqual(200)
      world.checks.length = Math.min(world.checks.length, known + 1)
      world.established.length = 0
      world.rejections.length = 0
    })
    world.advance(1_000_000)
    expect(world.login.size).toBe(0)
    // The mutations leave enough alone that every way through is taken.
    for (const counter of ['completed', 'rejected', 'unavailable', 'refusedRequests'] as const) {
      expect(world.login.counters.get(counter)).toBeGreaterThan(runs / 1000)
    }
    for (const exchange of waiting) expect(world.replies.get(exchange)?.status).toBe(503)
  })

  test('to ClientLogin: every login comes to an end', () => {
    const form = {
      type: 'form',
      form: {
        id: 'main',
        action: '/auth',
        message: 'Hello %s',
        fields: [
          { type: 'password', name: 'password', label: 'P' },
          { type: 'select', name: 'group_list', label: 'G', options: [{ value: 'a', label: 'A' }] },
        ],
      },
    } as const
    const bodies = [
      writeLoginReply(form),
      writeLoginReply({ type: 'complete', sessionToken: 't' }),
      writeLoginReply({ type: 'certificate-request' }),
    ].map(decode)
    const ends = new Map<string, number>()
    fuzz(random => {
      const login = new ClientLogin({ url: 'https://gw.example/' })
      login.start(0)
      let end: string | undefined
      let steps = 0
      for (let output = login.poll(); output; output = login.poll()) {
        if (++steps > 100) throw new Error('no end')
        if (output.type === 'form') {
          expect(output.form.fields.length).toBeLessThanOrEqual(32)
          login.answerForm({ password: 'x' }, 0)
        } else if (output.type === 'request') {
          const headers = mutateHeaders(random, [
            ['Set-Cookie', 'webvpncontext=abc; path=/'],
            ['Location', 'https://gw.example/x'],
          ])
          const status = pick(random, [200, 200, 200, 302, 401, 500])
          login.handleReply({ status, headers, body: encode(mutate(random, pick(random, bodies))) }, 0)
        } else end = output.type
      }
      ends.set(end ?? 'none', (ends.get(end ?? 'none') ?? 0) + 1)
    })
    expect([...ends.keys()].sort()).toEqual(['established', 'failed'])
  })

  test('to the readers of CONNECT: values stay in their bounds', () => {
    const lines: HeaderLines = [
      ['Cookie', 'webvpn=abc'],
      ['X-CSTP-Hostname', 'vm'],
      ['X-CSTP-Address-Type', 'IPv6,IPv4'],
      ['X-CSTP-Address', '192.0.2.7'],
      ['X-CSTP-Netmask', '255.255.255.0'],
      ['X-CSTP-Address-IP6', 'fd00::7/64'],
      ['X-CSTP-DNS', '10.0.0.1'],
      ['X-CSTP-Default-Domain', 'corp.example'],
      ['X-CSTP-Split-Include', '10.0.0.0/255.0.0.0'],
      ['X-CSTP-Split-Exclude-IP6', 'fd00::/8'],
      ['X-CSTP-Banner', 'Hello%20you'],
      ['X-CSTP-DPD', '30'],
      ['X-CSTP-Session-Timeout', '3600'],
      ['X-DTLS-Port', '443'],
      ['X-DTLS-App-ID', 'ab'.repeat(32)],
      ['X-DTLS-CipherSuite', 'PSK-NEGOTIATE:AES128-SHA'],
      ['X-CSTP-Base-MTU', '1500'],
      ['X-CSTP-MTU', '1400'],
    ]
    fuzz(random => {
      const mutated = mutateHeaders(random, lines)
      const request = readTunnelRequest(mutated)
      const { mtu = 576, baseMtu = 576 } = request
      const reply = readTunnelReply(mutated)
      const bounded =
        Math.min(mtu, baseMtu) >= 576 &&
        Math.max(mtu, baseMtu) <= 16_384 &&
        (request.ipv4 || request.ipv6) &&
        (!reply ||
          (reply.mtu >= (reply.ipv6 ? 1280 : 576) &&
            reply.mtu <= 16_384 &&
            reply.sessionSeconds <= 31_622_400 &&
            reply.stream.dpdSeconds <= 31_622_400 &&
            (reply.datagram?.appId.length ?? 32) === 32))
      if (!bounded) throw new Error(`out of bounds: ${JSON.stringify(mutated)}`)
    })
  })

  test('to the reader of reply heads', () => {
    const head = 'HTTP/1.1 200 CONNECTED\r\nX-CSTP-Version: 1\r\nX-CSTP-MTU: 1400\r\n\r\nSTF'
    fuzz(random => {
      const bytes = encode(mutate(random, head))
      const reader = new ReplyHeadReader(2000)
      const cut = randomBelow(random, bytes.length + 1)
      if (reader.push(bytes.subarray(0, cut)) === 'incomplete') reader.push(bytes.subarray(cut))
    })
  })

  test('to SessionRegistry: no cookie but its own opens a session', () => {
    const registry = new SessionRegistry({ random: seededRandom(1), hash: bytes => bytes })
    const opened = registry.open({ username: 'alice', method: 'password' }, 0)
    if ('refused' in opened) throw new Error('refused')
    fuzz(random => {
      const cookie = mutate(random, opened.cookie)
      if (cookie !== opened.cookie) expect(registry.connect(cookie, 0)).toEqual({ refused: 'unknown-cookie' })
    })
  })
})
