// What the native socket does on a link with an MTU of 1500 and where neighbours don't answer; run in a network namespace with
// `lo` so set and the pair v0 (10.77.0.1/24, fe80::a/64), v1 (fe80::b/64). Prints one line of JSON.
import { DropReason, PacketBatch } from '@twinbore/core/packet'
import { openDatagramSocket } from '../../src/io/index.ts'

const [a, b] = [await openDatagramSocket({ address: '::' }), await openDatagramSocket({ address: '::' })]
/** What waits for a neighbour's answer takes room in the buffer. */
const small = await openDatagramSocket({ address: '0.0.0.0', sendBufferBytes: 16_384, gso: false })
const batch = new PacketBatch({ capacity: 64, slotBytes: 4000 })
const into = new PacketBatch(b.batch)

/** Sends so many datagrams and takes what comes of them, until nothing waits. */
function exchange(address: string, count: number, length: number) {
  batch.reset()
  const to = a.endpoints.intern(address, b.localPort)
  for (let i = 0; i < count; i++) batch.push(new Uint8Array(length).fill(i), to)
  const sent = a.send(batch)
  const values: number[] = []
  let from = ''
  do {
    into.reset()
    b.receive(into)
    for (let slot = 0; slot < into.count; slot++) {
      if (into.lengths[slot] !== length) throw new Error(`${into.lengths[slot]} bytes`)
      values.push(into.packet(slot)[length - 1]!)
      from = b.endpoints.addressOf(into.owners[slot]!)
    }
  } while (!b.drained)
  const { trainsSent, trainsRefused, sendErrors, sendQueueDrops } = a.stats()
  return { sent, values, from, trainsSent, trainsRefused, sendErrors, sendQueueDrops }
}

const results = {
  fitting: exchange('127.0.0.1', 40, 1400),
  fragmented: exchange('127.0.0.1', 20, 3000),
  fragmented6: exchange('::1', 20, 3000),
  again: exchange('127.0.0.1', 20, 3000),
  linkLocal: exchange('fe80::b%v0', 3, 100),
  noSuchZone: exchange('fe80::b%none', 1, 100),
  nobody: (() => {
    batch.reset()
    const to = small.endpoints.intern('10.77.0.2', 9)
    for (let i = 0; i < 64; i++) batch.push(new Uint8Array(1400), to)
    const sent = small.send(batch)
    return { sent, dropped: batch.drops[DropReason.queueFull], counted: small.stats().sendQueueDrops }
  })(),
}
process.stdout.write(`${JSON.stringify(results)}\n`)
a.close()
b.close()
small.close()
