// Ten thousand associations in one server: data each way, and what each of them costs.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test, vi } from 'vitest'
import { DtlsAssociation, DtlsServer, Verdict } from '../../src/index.ts'
import { nodeRandom, recordContexts } from '../../src/io/index.ts'
import { TestBatch } from '../test-batch.ts'
import { testCrypto, testKey } from '../world.ts'

const COUNT = 10_000
const psk = { identity: 'psk', key: testKey }

function clientOf(number: number): DtlsAssociation {
  const sessionId = new Uint8Array(32)
  new DataView(sessionId.buffer).setUint32(0, number)
  return new DtlsAssociation({ role: 'client', crypto: testCrypto, random: nodeRandom, psk, sessionId })
}

/** Carries datagrams until nobody has any. */
function run(server: DtlsServer, client: DtlsAssociation, endpoint: number): void {
  for (let moved = true; moved; ) {
    moved = false
    for (let output = client.poll(); output !== undefined; output = client.poll()) {
      if (output.type !== 'transmit') continue
      server.handleDatagram(endpoint, output.bytes, 0)
      moved = true
    }
    for (let output = server.poll(); output !== undefined; output = server.poll()) {
      if (output.type !== 'transmit') continue
      client.handleDatagram(output.bytes, 0)
      moved = true
    }
  }
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes of the heap and of array buffers in use. */
function memoryInUse(): number {
  for (let i = 0; i < 3; i++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test('ten thousand associations at once, data each way, less than 6 KiB of heap each', {
  timeout: 120_000,
}, async () => {
  const random = nodeRandom
  const server = new DtlsServer({
    crypto: testCrypto,
    random,
    findPsk: () => testKey,
    cookies: 'never',
    hostOf: String,
  })
  const contexts = recordContexts()
  const isCounted = testCrypto.records !== undefined
  const clients: DtlsAssociation[] = []
  let before = 0
  for (let number = 0; number < COUNT + 200; number++) {
    if (number === 200) {
      // What came before has warmed everything up.
      for (let association = 0; association < 200; association++) server.close(association, 0)
      while (server.poll() !== undefined);
      before = memoryInUse()
    }
    const client = clientOf(number)
    client.start(0)
    run(server, client, number)
    if (number >= 200) clients.push(client)
  }
  expect(server.associationCount).toBe(COUNT)

  const batch = new TestBatch(16)
  const word = new TextEncoder().encode('over')
  for (const [index, client] of clients.entries()) {
    batch.count = 0
    for (let i = 0; i < 3; i++) batch.push(word, 0)
    client.sealDatagrams(batch, 0)
    batch.owners.fill(200 + index)
    server.openDatagrams(batch, 0)
    expect(batch.forwarded).toEqual(new Array(3).fill([200 + index, 'over']))
    server.sealDatagrams(batch, 0)
    expect(batch.owners[0]).toBe(200 + index)
    client.openDatagrams(batch, 0)
    for (let slot = 0; slot < 3; slot++)
      if (batch.verdicts[slot] !== Verdict.forward) throw new Error('a record was lost')
  }
  if (isCounted) expect(recordContexts() - contexts).toBeGreaterThanOrEqual(4 * COUNT)

  // Clients that nobody knows any more give their contexts back without having been closed.
  clients.length = 0
  expect((memoryInUse() - before) / COUNT).toBeLessThan(6 * 1024)
  if (isCounted) {
    await vi.waitFor(
      () => {
        collect()
        expect(recordContexts() - contexts).toBe(2 * COUNT)
      },
      { timeout: 20_000 },
    )
  }

  for (let association = 0; association < COUNT + 200; association++) server.close(association, 0)
  while (server.poll() !== undefined);
  expect(server.associationCount).toBe(0)
  if (isCounted) expect(recordContexts()).toBe(contexts)
  // Numbers that rest before they come back are what stays.
  expect((memoryInUse() - before) / COUNT).toBeLessThan(512)
})
