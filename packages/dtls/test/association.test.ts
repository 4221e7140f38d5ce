// One association: what ends it and what does not, limits of keys and options.
import { describe, expect, test } from 'vitest'
import { DtlsAssociation, type DtlsClientOptions, type DtlsPeerServerOptions, DtlsServer } from '../src/index.ts'
import { nodeCrypto } from '../src/io/index.ts'
import type { PeerState } from '../src/peer-state.ts'
import { MAX_SEQUENCE } from '../src/record/record-header.ts'
import { SeededRandom } from './seeded-random.ts'
import { testKey, typesOf, World } from './world.ts'

const common = { crypto: nodeCrypto, random: new SeededRandom(1) }
const clientOptions: DtlsClientOptions = { ...common, role: 'client', psk: { identity: 'psk', key: testKey } }
const serverOptions: DtlsPeerServerOptions = { ...common, role: 'server', findPsk: () => testKey }

function alertRecord(level: number, description: number): Uint8Array {
  return Uint8Array.of(21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, level, description)
}

describe('a plaintext fatal alert during the handshake', () => {
  test('is believed only when the peer stays silent after it', () => {
    const world = new World(1)
    const client = world.connect()
    world.toClient(client, alertRecord(2, 40))
    expect(client.association.state).toBe('handshaking')
    world.run(500)
    expect(client.association.state).toBe('established')

    const alone = new World(2)
    alone.filter = () => false
    const other = alone.connect()
    alone.toClient(other, alertRecord(2, 40))
    alone.run(2900)
    expect(other.association.state).toBe('handshaking')
    alone.run(200)
    expect(other.outputs).toMatchObject([
      {
        type: 'closed',
        reason: 'handshake-failed',
        error: { code: 'ERR_DTLS_PEER_ALERT', alert: 'handshake_failure' },
      },
    ])
  })

  test('warnings and close_notify are not', () => {
    const world = new World(3)
    world.filter = () => false
    const client = world.connect()
    for (const description of [0, 90, 100]) world.toClient(client, alertRecord(1, description))
    world.run(10_000)
    expect(client.association.state).toBe('handshaking')
    expect(client.association.stats()['unexpected-alert']).toBe(3)
  })
})

describe('forged HelloVerifyRequests', () => {
  const forged = (cookie: number, messageSeq = 0) => {
    const message = [3, 0, 0, 4, 0, messageSeq, 0, 0, 0, 0, 0, 4, 0xfe, 0xff, 1, cookie]
    return Uint8Array.of(22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, message.length, ...message)
  }

  test('a few of them do not keep a client from its server', () => {
    const world = new World(4)
    const client = world.connect()
    for (let cookie = 1; cookie < 5; cookie++) world.toClient(client, forged(cookie, cookie - 1))
    expect(client.sentDatagrams).toBe(5)
    world.run(2000)
    expect(client.association.state).toBe('established')
  })

  test('many of them are not all answered, and a repeated one not at all', () => {
    const world = new World(5)
    world.filter = () => false
    const client = world.connect()
    for (let i = 0; i < 10; i++) world.toClient(client, forged(1))
    expect(client.sentDatagrams).toBe(2)
    for (let cookie = 2; cookie < 100; cookie++) world.toClient(client, forged(cookie, cookie - 1))
    expect(client.sentDatagrams).toBe(9)
  })

  test('that number all answers 0, as some servers do, one is taken each time the hello was repeated', () => {
    const world = new World(6)
    world.filter = () => false
    const client = world.connect({ retransmitTimeoutMs: 1000 })
    for (let cookie = 1; cookie < 5; cookie++) world.toClient(client, forged(cookie))
    expect(client.sentDatagrams).toBe(2)
    world.run(1000)
    expect(client.sentDatagrams).toBe(3)
    for (let cookie = 5; cookie < 9; cookie++) world.toClient(client, forged(cookie))
    expect(client.sentDatagrams).toBe(4)
  })
})

describe('between two associations without a server', () => {
  test('the handshake completes and data passes both ways', () => {
    const client = new DtlsAssociation(clientOptions)
    const server = new DtlsAssociation(serverOptions)
    expect([client.state, server.state]).toEqual(['idle', 'idle'])
    client.start(0)
    const outputs: Record<'client' | 'server', string[]> = { client: [], server: [] }
    const pump = () => {
      for (let isMoving = true; isMoving; ) {
        isMoving = false
        for (const [from, to, name] of [
          [client, server, 'client'],
          [server, client, 'server'],
        ] as const) {
          for (let output = from.poll(); output !== undefined; output = from.poll()) {
            isMoving = true
            if (output.type === 'transmit') to.handleDatagram(output.bytes, 0)
            else outputs[name].push(output.type === 'received' ? String(output.bytes) : output.type)
          }
        }
      }
    }
    pump()
    expect([client.state, server.state]).toEqual(['established', 'established'])
    expect(client.send(Uint8Array.of(1), 0)).toBe(true)
    expect(server.send(Uint8Array.of(2), 0)).toBe(true)
    pump()
    server.close(0)
    pump()
    expect(outputs).toEqual({ client: ['established', '2', 'closed'], server: ['established', '1', 'closed'] })
  })

  test('a server whose peer has not proven its address keeps to three times what it got', () => {
    const client = new DtlsAssociation(clientOptions)
    client.start(0)
    const hello = client.poll()
    if (hello?.type !== 'transmit') throw new Error('no hello')
    const server = new DtlsAssociation({ ...serverOptions, retransmitTimeoutMs: 100 })
    server.handleDatagram(hello.bytes.slice(), 0)
    for (let now = 0; now < 60_000; now = server.deadline ?? 60_000) server.handleDeadline(now)
    let sent = 0
    for (let output = server.poll(); output !== undefined; output = server.poll()) {
      if (output.type === 'transmit') sent += output.bytes.length
    }
    expect(sent).toBeLessThanOrEqual(3 * hello.bytes.length)
  })
})

test('nothing refers to a Buffer that was handed in, whose slice would be a view', () => {
  const key = Buffer.from(testKey)
  const sessionId = Buffer.alloc(32, 7)
  const client = new DtlsAssociation({ ...clientOptions, psk: { identity: Buffer.from('psk'), key }, sessionId })
  key.fill(0)
  sessionId.fill(0)
  const server = new DtlsServer({ ...serverOptions, findPsk: () => testKey })
  const received: Uint8Array[] = []
  const pump = () => {
    for (let isMoving = true; isMoving; ) {
      isMoving = false
      for (let output = client.poll(); output !== undefined; output = client.poll()) {
        if (output.type !== 'transmit') continue
        const buffer = Buffer.alloc(65_536)
        buffer.set(output.bytes)
        server.handleDatagram(0, buffer.subarray(0, output.bytes.length), 0)
        buffer.fill(0xff)
        isMoving = true
      }
      for (let output = server.poll(); output !== undefined; output = server.poll()) {
        if (output.type === 'transmit') {
          const buffer = Buffer.from(output.bytes)
          client.handleDatagram(buffer, 0)
          buffer.fill(0xff)
          isMoving = true
        } else if (output.type === 'received') received.push(output.bytes)
        else if (output.type === 'established') received.push(output.sessionId, output.identity)
      }
    }
  }
  client.start(0)
  pump()
  client.send(Uint8Array.of(1, 2, 3), 0)
  pump()
  expect(received).toEqual([new Uint8Array(32).fill(7), new TextEncoder().encode('psk'), Uint8Array.of(1, 2, 3)])
  for (const bytes of received) expect(bytes.buffer.byteLength).toBe(bytes.length)
})

describe('keys', () => {
  function established(cipherSuite: 'TLS_PSK_WITH_AES_128_GCM_SHA256' | 'TLS_PSK_WITH_CHACHA20_POLY1305_SHA256') {
    const world = new World(5, {}, { cipherSuites: [cipherSuite] })
    const client = world.connect()
    world.run(500)
    const { peer } = client.association as unknown as { peer: PeerState }
    return { world, client, write: peer.write!, read: peer.read! }
  }

  test('of GCM are said to near their limit after 2^24.5 records, once, and go on', () => {
    const { world, client, write } = established('TLS_PSK_WITH_AES_128_GCM_SHA256')
    write.sequence = Math.floor(2 ** 24.5) - 2
    for (let i = 0; i < 4; i++) world.send(client, `${i}`)
    world.run(100)
    expect(typesOf(client.outputs)).toEqual(['established', 'key-limit-near'])
    expect(world.receivedByServer).toEqual(['0', '1', '2', '3'])
  })

  test('protect nothing once the sequence numbers are used up', () => {
    const { world, client, write } = established('TLS_PSK_WITH_CHACHA20_POLY1305_SHA256')
    write.sequence = MAX_SEQUENCE - 1
    expect(client.association.send(Uint8Array.of(1), world.now)).toBe(true)
    expect(client.association.send(Uint8Array.of(2), world.now)).toBe(false)
    expect(client.association.stats()['key-limit']).toBe(1)
    client.association.close(world.now)
    expect(client.association.state).toBe('closed')
  })

  test('that failed 2^36 times end the association (RFC 9147 §4.5.3)', () => {
    const { world, client, read } = established('TLS_PSK_WITH_AES_128_GCM_SHA256')
    const forged = Uint8Array.of(23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 30, ...new Uint8Array(30))
    world.toClient(client, forged)
    expect(client.association.state).toBe('established')
    read.forgeries = 2 ** 36 - 1
    world.toClient(client, forged)
    expect(client.outputs.at(-1)).toMatchObject({
      type: 'closed',
      reason: 'key-limit',
      error: { code: 'ERR_DTLS_KEY_LIMIT' },
    })
  })
})

describe('misuse throws', () => {
  test.each<[string, () => unknown]>([
    ['sessionId', () => new DtlsAssociation({ ...clientOptions, sessionId: new Uint8Array(33) })],
    ['psk.identity', () => new DtlsAssociation({ ...clientOptions, psk: { identity: 'i'.repeat(129), key: testKey } })],
    ['psk.key', () => new DtlsAssociation({ ...clientOptions, psk: { identity: 'i', key: new Uint8Array(0) } })],
    ['mtu', () => new DtlsAssociation({ ...clientOptions, mtu: 255 })],
    ['retransmitTimeoutMs', () => new DtlsAssociation({ ...clientOptions, retransmitTimeoutMs: 0 })],
    ['recordSizeLimit', () => new DtlsAssociation({ ...serverOptions, recordSizeLimit: 63 })],
    ['cipherSuites', () => new DtlsAssociation({ ...serverOptions, cipherSuites: [] })],
    ['cookies', () => new DtlsServer({ ...serverOptions, cookies: 'sometimes' as 'always' })],
    ['maxHalfOpen', () => new DtlsServer({ ...serverOptions, maxHalfOpen: 0 })],
    ['plaintext', () => new DtlsAssociation(clientOptions).send(new Uint8Array(0), 0)],
    ['plaintext', () => new DtlsAssociation(clientOptions).send(new Uint8Array(16_385), 0)],
    ['established', () => new DtlsAssociation(clientOptions).exportKeyingMaterial(1, 'EXPORTER-x')],
  ])('naming %s', (name, misuse) => {
    expect(misuse).toThrow(RangeError)
    expect(misuse).toThrow(name)
  })

  test('but sending too early is counted, not thrown', () => {
    const association = new DtlsAssociation(clientOptions)
    expect(association.send(Uint8Array.of(1), 0)).toBe(false)
    expect(association.stats()['not-established']).toBe(1)
    association.close(0)
    association.start(0)
    association.handleDatagram(new Uint8Array(50), 0)
    association.handleDeadline(1e9)
    expect(association.state).toBe('closed')
    expect(association.poll()).toEqual({ type: 'closed', reason: 'local' })
    expect(association.poll()).toBeUndefined()
  })
})
