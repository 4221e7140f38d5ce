// A thread that takes over a UDP socket by its number, waits for it by poll(2), as a data plane does, and returns every datagram
// to its sender. It ends when it has returned as many as it was told.
import { workerData } from 'node:worker_threads'
import { PacketBatch } from '@twinbore/core/packet'
import { adoptDatagramSocket } from '../../src/io/index.ts'
import { nativeLibrary } from '../../src/io/native-library.ts'

const { descriptor, count } = workerData as { descriptor: number; count: number }
const library = nativeLibrary()
const poll = library.function('poll', 'int', ['address', 'int64', 'int'])
/** struct pollfd: int fd; short events; short revents. */
const request = Int32Array.of(descriptor, 1)
const socket = adoptDatagramSocket({ descriptor })
const batch = new PacketBatch(socket.batch)
let returned = 0
while (returned < count) {
  if (poll(library.addressOf(request.buffer), 1, 10_000) !== 1) throw new Error('nothing comes')
  do {
    batch.reset()
    socket.receive(batch)
    returned += socket.send(batch)
  } while (!socket.drained)
}
socket.close()
