import type { Packet } from 'dns-packet'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Resolver } from '../../../src/client/network/io/resolver.ts'
import { NetworkWorld, nameServer, otherNameServer } from '../../support/network-world.ts'
import { answerTo, truncated, zone } from '../../support/stack-servers.ts'

let world: NetworkWorld
beforeEach(() => {
  world = new NetworkWorld()
})
afterEach(() => world.close())

const name = 'intranet.corp.example'
const both = { [name]: ['192.0.2.1', '2001:db8::1'] }
const addressesOf = async (asked: string, family?: 4 | 6) =>
  (await world.network.lookup(asked, family ? { family } : {})).map(({ address }) => address)

describe('lookup', () => {
  test('asks the first name server for both families, and answers IPv6 first', async () => {
    world.servers.onQuestion = zone(both)
    expect(await world.network.lookup(name)).toEqual([
      { address: '2001:db8::1', family: 6, ttlSeconds: 60 },
      { address: '192.0.2.1', family: 4, ttlSeconds: 60 },
    ])
    expect(await addressesOf(name, 4)).toEqual(['192.0.2.1'])
    const { questions } = world.servers
    expect(questions.map(({ type, server }) => [type, server])).toEqual([
      ['AAAA', nameServer],
      ['A', nameServer],
      ['A', nameServer],
    ])
    // Ports and ids are drawn for each (RFC 5452).
    expect(new Set(questions.map(({ port }) => port)).size).toBe(3)
    expect(new Set(questions.map(({ id }) => id)).size).toBe(3)
  })

  test('answers with what one family has when the other has nothing', async () => {
    world.servers.onQuestion = zone({ [name]: ['192.0.2.1'] })
    expect(await addressesOf(name)).toEqual(['192.0.2.1'])
    await expect(world.network.lookup(name, { family: 6 })).rejects.toMatchObject({ code: 'ENODATA', hostname: name })
  })

  test('of an address is that address, and of localhost nothing; neither is asked for', async () => {
    expect(await addressesOf('192.0.2.7')).toEqual(['192.0.2.7'])
    expect(await addressesOf('2001:DB8::7')).toEqual(['2001:db8::7'])
    for (const local of ['localhost', 'LOCALHOST.', 'a.localhost']) {
      await expect(world.network.lookup(local)).rejects.toMatchObject({ code: 'ENOTFOUND' })
    }
    for (const wrong of ['', 'a b', 'x..y', '%', 'ex@mple.org', `${'x'.repeat(64)}.example`]) {
      await expect(world.network.lookup(wrong)).rejects.toMatchObject({ code: 'EBADNAME' })
    }
    expect(world.servers.questions).toEqual([])
  })

  test('tries search domains: first for a bare name, last for one with a dot, never for a complete one', async () => {
    const asked = async (text: string) => {
      world.servers.questions.length = 0
      await expect(world.network.lookup(text, { family: 4 })).rejects.toMatchObject({
        code: 'ENOTFOUND',
        hostname: text,
      })
      return world.servers.questions.map(question => question.name)
    }
    expect(await asked('wiki')).toEqual(['wiki.corp.example', 'wiki'])
    expect(await asked('wiki.dev')).toEqual(['wiki.dev', 'wiki.dev.corp.example'])
    expect(await asked('wiki.')).toEqual(['wiki'])
    expect(await asked('bücher.example')).toEqual(['xn--bcher-kva.example', 'xn--bcher-kva.example.corp.example'])
    world.servers.onQuestion = zone({ 'intranet.corp.example': ['192.0.2.1'] })
    expect(await addressesOf('intranet')).toEqual(['192.0.2.1'])
  })

  test('asks again by TCP when the answer was truncated, the same server', async () => {
    const real = zone({ [name]: Array.from({ length: 200 }, (_, i) => `192.0.2.${i}`) })
    world.servers.onQuestion = (question, ends, transport) =>
      transport === 'udp' ? truncated : real(question, ends, transport)
    expect(await addressesOf(name, 4)).toHaveLength(200)
    expect(world.servers.questions.map(({ transport, server }) => [transport, server])).toEqual([
      ['udp', nameServer],
      ['tcp', nameServer],
    ])
  })

  test('takes no wrong answer: another id, another name, another server, another port, nonsense', async () => {
    const evil = { answers: [{ type: 'A' as const, name, ttl: 60, data: '203.0.113.66' }] }
    const right = zone(both)
    world.servers.onQuestion = (question, ends) => {
      const other = { ...question, id: (question.id! + 1) & 0xffff }
      const elsewhere = { ...question, questions: [{ name: 'evil.example', type: 'A' as const }] }
      const forged = answerTo(question, evil)
      // From another server and another port than were asked.
      const { host } = world.servers
      for (const remote of [
        { address: '10.6.6.6', port: 53 },
        { address: nameServer, port: 5353 },
      ]) {
        host.stack.sendDatagram(0, remote, forged, host.now())
      }
      const answer = right(question, ends, 'udp') as Partial<Packet>
      return [answerTo(other, evil), answerTo(elsewhere, evil), new Uint8Array(40), answerTo(question, answer)]
    }
    expect(await addressesOf(name, 4)).toEqual(['192.0.2.1'])
  })

  test('goes to the next server when one is silent, refuses or fails, and says what was the matter', async () => {
    const network = resolver({ timeoutMs: 60 })
    const replies = new Map<string, Partial<Packet> | undefined>()
    const right = zone(both)
    world.servers.onQuestion = (question, ends) =>
      replies.has(ends.destination.address) ? replies.get(ends.destination.address) : right(question, ends, 'udp')
    for (const reply of [undefined, { flags: 2 }, { flags: 5 }]) {
      replies.set(nameServer, reply)
      expect((await network.resolve(name, 4)).map(({ address }) => address)).toEqual(['192.0.2.1'])
    }
    for (const [first, second, code] of [
      [undefined, undefined, 'ETIMEOUT'],
      [undefined, { flags: 2 }, 'ESERVFAIL'],
      [{ flags: 5 }, { flags: 2 }, 'EREFUSED'],
    ] as const) {
      world.servers.questions.length = 0
      replies.set(nameServer, first).set(otherNameServer, second)
      await expect(network.resolve(name, 4)).rejects.toMatchObject({ code, syscall: 'lookup' })
      expect(world.servers.questions.map(({ server }) => server)).toEqual([
        nameServer,
        otherNameServer,
        nameServer,
        otherNameServer,
      ])
    }
  })

  test('leaves EDNS out for a server that does not understand it', async () => {
    const right = zone(both)
    world.servers.onQuestion = (question, ends) =>
      question.additionals!.length > 0 ? { flags: 1 } : right(question, ends, 'udp')
    expect(await addressesOf(name, 4)).toEqual(['192.0.2.1'])
    expect(world.servers.questions).toHaveLength(2)
  })

  test('a late answer of the first server is an answer', async () => {
    const network = resolver({ timeoutMs: 50 })
    const right = zone(both)
    let late: (() => void) | undefined
    world.servers.onQuestion = (question, ends) => {
      if (ends.destination.address === otherNameServer) {
        late!()
        return undefined
      }
      late ??= () => {
        const bytes = answerTo(question, right(question, ends, 'udp') as Partial<Packet>)
        world.servers.host.stack.sendDatagram(0, { address: nameServer, port: 53 }, bytes, world.servers.host.now())
        world.servers.host.touch()
      }
      return undefined
    }
    expect((await network.resolve(name, 4)).map(({ address }) => address)).toEqual(['192.0.2.1'])
  })

  test('ends when its signal fires, and when the tunnel does', async () => {
    world.servers.onQuestion = () => undefined
    const abort = new AbortController()
    const aborted = world.network.lookup(name, { signal: abort.signal })
    const ended = world.network.lookup(name)
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    world.interface.close(new Error('the tunnel is gone'))
    await expect(ended).rejects.toThrow('the tunnel is gone')
    await expect(world.network.lookup(name)).rejects.toThrow('the tunnel is gone')
  })

  test('leaves no socket behind', async () => {
    world.servers.onQuestion = zone(both)
    await Promise.all(Array.from({ length: 50 }, () => world.network.lookup(name)))
    const { host } = world.network as unknown as { host: { stack: { stats(): { udpFlows: number } } } }
    expect(host.stack.stats().udpFlows).toBe(0)
  })
})

test('a tunnel without name servers says so', async () => {
  world.network.update({ addresses: [world.granted.ipv4!.address], nameServers: [], searchDomains: [] })
  await expect(world.network.lookup(name)).rejects.toMatchObject({ code: 'ESERVFAIL' })
})

/** A resolver over the same stack with little patience. */
function resolver(options: { readonly timeoutMs?: number }): Resolver {
  const { host } = world.network as unknown as { host: ConstructorParameters<typeof Resolver>[0]['host'] }
  return new Resolver({
    host,
    servers: world.granted.dns.servers,
    searchDomains: [],
    ownAddress: family => (family === 4 ? '10.77.0.2' : 'fd77::2'),
    ...options,
  })
}
