// UDP in trains that the kernel takes in one piece (UDP_SEGMENT), so that they reach a TUN as super-packets.
//   offload-datagrams.ts echo ADDRESS PORT             sends back what comes
//   offload-datagrams.ts train ADDRESS PORT TRAINS     trains of random sizes there and back; prints what came back wrong
import { PacketBatch } from '@twinbore/core/packet'
import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import { openDatagramSocket } from '../../src/io/index.ts'

const [, , role, address, port, trains] = process.argv
const isEcho = role === 'echo'
const any = address!.includes(':') ? '::' : '0.0.0.0'
const socket = await openDatagramSocket({ address: isEcho ? address! : any, port: isEcho ? Number(port) : 0 })
const received = new PacketBatch(socket.batch)

if (isEcho) {
  socket.onReadable = () => {
    do {
      received.reset()
      socket.receive(received)
      socket.send(received)
    } while (!socket.drained)
  }
  console.log('ready')
} else {
  const random = seededRandom(5)
  const peer = socket.endpoints.intern(address!, Number(port))
  socket.endpoints.retain(peer)
  const expected: string[] = []
  let wrong = 0
  let left = Number(trains)
  const sendTrain = (): void => {
    const batch = new PacketBatch({ capacity: 40, slotBytes: 1400 })
    const size = 1 + randomBelow(random, 1300)
    for (let count = 1 + randomBelow(random, 39); count > 0; count--) {
      const bytes = random.fill(new Uint8Array(count === 1 ? 1 + randomBelow(random, size) : size))
      batch.push(bytes, peer)
      expected.push(Buffer.from(bytes).toString('base64'))
    }
    socket.send(batch)
  }
  socket.onReadable = () => {
    do {
      received.reset()
      socket.receive(received)
      for (let slot = 0; slot < received.count; slot++) {
        if (Buffer.from(received.packet(slot)).toString('base64') !== expected.shift()) wrong++
      }
    } while (!socket.drained)
    if (expected.length > 0) return
    if (--left > 0) sendTrain()
    else {
      console.log(JSON.stringify({ wrong, sent: socket.stats() }))
      socket.close()
    }
  }
  sendTrain()
}
