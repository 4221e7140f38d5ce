// A TUN opened by the main thread and used by a worker thread, which answers pings. The worker ends after three answers, and a
// second one goes on.
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { DropReason, PacketBatch } from '@twinbore/core/packet'
import { adoptTun, openTun, type TunHandle } from '../../src/io/index.ts'

if (isMainThread) {
  const device = openTun({ name: 'adopted', addresses: ['10.86.0.1/24'] })
  const spawn = (word: string): Worker => {
    // A worker of Node 20 does not inherit what loads TypeScript.
    const load = `import('tsx/esm/api').then(tsx => (tsx.register(), import(${JSON.stringify(import.meta.url)})))`
    const worker = new Worker(load, { eval: true, workerData: device.handle })
    worker.once('message', () => console.log(word))
    return worker
  }
  spawn('ready').once('exit', () => spawn('replaced'))
} else {
  const { parentPort } = await import('node:worker_threads')
  const device = adoptTun(workerData as TunHandle)
  const batch = new PacketBatch()
  let answers = 0
  device.onReadable = () => {
    batch.reset()
    device.read(batch)
    for (let slot = 0; slot < batch.count; slot++) {
      const at = batch.offsets[slot]!
      const { bytes } = batch
      if (bytes[at]! !== 0x45 || bytes[at + 9] !== 1 || bytes[at + 20] !== 8) {
        batch.drop(slot, DropReason.filtered)
        continue
      }
      const source = bytes.slice(at + 12, at + 16)
      bytes.copyWithin(at + 12, at + 16, at + 20)
      bytes.set(source, at + 16)
      bytes[at + 20] = 0
      const checksum = batch.view.getUint16(at + 22) + 0x0800
      batch.view.setUint16(at + 22, (checksum & 0xffff) + (checksum >>> 16))
      answers++
    }
    device.write(batch)
    if (answers === 3) device.close()
  }
  parentPort!.postMessage('open')
}
