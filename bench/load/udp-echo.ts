// Sends every UDP datagram back to where it came from.  Arguments: ADDRESS PORT; prints "ready" when it listens.
import { PacketBatch } from '@twinbore/core/packet'
import { openDatagramSocket } from '@twinbore/tun/io'

const [address, port] = process.argv.slice(2)
const socket = await openDatagramSocket({ address: address!, port: Number(port) })
const batch = new PacketBatch({ capacity: 256, ...socket.batch })
socket.onReadable = () => {
  batch.reset()
  if (socket.receive(batch) > 0) socket.send(batch)
}
console.log('ready')
