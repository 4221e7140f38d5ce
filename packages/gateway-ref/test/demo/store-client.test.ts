import { type Random, seededRandom } from '@twinbore/core/runtime'
import { lossy, memoryPair } from '@twinbore/tun'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StoreClient } from '../../src/demo/io/store-client.ts'
import {
  CHUNK_BYTES,
  decodeStoreMessage,
  encodeAnswer,
  encodeRequest,
  StoreOperation,
} from '../../src/demo/store-protocol.ts'
import { UdpEndpoint } from '../../src/demo/udp-endpoint.ts'

const here = { address: '192.168.77.2', port: 4077, peer: '203.0.113.2', peerPort: 9000 }
const there = { address: here.peer, port: here.peerPort, peer: here.address, peerPort: here.port }
const options = { seconds: 10, retryMs: 20, signal: new AbortController().signal }

test('a file comes back equal, also from a link that loses a tenth', async () => {
  const store = storeBehind(seededRandom(5), 0.1)
  const file = randomFile(200 * CHUNK_BYTES + 7)
  expect((await store.upload(file, options)).bytes).toBe(file.length)
  expect((await store.download(file, options)).equal).toBe(true)
})

test('a file that changed on the way is not equal', async () => {
  const store = storeBehind(seededRandom(5), 0)
  const file = randomFile(5000)
  await store.upload(file, options)
  file[4999]! ^= 1
  expect((await store.download(file, options)).equal).toBe(false)
})

test('round trips and the sender as the store saw it', async () => {
  const store = storeBehind(seededRandom(5), 0)
  const times = await store.roundTrips(7, options)
  expect(times).toHaveLength(7)
  expect(times).toEqual([...times].sort((a, b) => a - b))
  expect(await store.whoAmI(options)).toBe('203.0.113.1:20001')
})

test('silence is a clear error in bounded time, and an abort ends the wait', async () => {
  const store = storeBehind(seededRandom(5), 1)
  await expect(store.whoAmI({ ...options, seconds: 0.1 })).rejects.toThrow('no answer from the intranet within 0.1 s')
  const abort = new AbortController()
  const waiting = store.whoAmI({ ...options, signal: abort.signal })
  abort.abort()
  await expect(waiting).rejects.toMatchObject({ code: 'ERR_GATEWAY_ABORTED' })
})

test('messages are read back as written; any other bytes are none', () => {
  const operation = fc.constantFrom(...Object.values(StoreOperation))
  const number = fc.integer({ min: 0, max: 0xffff_ffff })
  const bytes = fc.uint8Array({ maxLength: CHUNK_BYTES })
  fc.assert(
    fc.property(operation, number, number, bytes, (operation, id, index, bytes) => {
      const request = decodeStoreMessage(encodeRequest(operation, id, index, bytes))!
      expect(request).toEqual({ operation, answer: false, id, index, bytes })
      expect(decodeStoreMessage(encodeAnswer(request, bytes))).toEqual({ ...request, answer: true })
    }),
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 8 }), bytes => decodeStoreMessage(bytes) === undefined))
  expect(decodeStoreMessage(new Uint8Array(20).fill(0x7f))).toBeUndefined()
})

/** A client, a link with losses, and a store at its other end. */
function storeBehind(random: Random, losses: number): StoreClient {
  const [near, far] = memoryPair()
  const chunks = new Map<number, Uint8Array>()
  const endpoint = new UdpEndpoint(lossy(far, random, losses), there)
  endpoint.onDatagram = payload => {
    const request = decodeStoreMessage(payload)!
    const { operation, index, bytes } = request
    if (operation === StoreOperation.put) chunks.set(index, bytes.slice())
    const answers = {
      [StoreOperation.echo]: bytes,
      [StoreOperation.whoAmI]: new TextEncoder().encode('203.0.113.1:20001'),
      [StoreOperation.put]: undefined,
      [StoreOperation.get]: chunks.get(index),
    }
    endpoint.send(encodeAnswer(request, answers[operation]))
  }
  return new StoreClient(new UdpEndpoint(near, here))
}

function randomFile(length: number): Uint8Array {
  const random = seededRandom(9)
  return Uint8Array.from({ length }, () => random.uint32() & 0xff)
}
