// A gateway whose data plane can be made to die, and that tells its counters: one command a line on standard input.
//   node [--expose-gc] failing-gateway.mjs CONFIG
//     throw | exit | hang [BYTES] [WORKER]   the data plane, or one of its workers, dies (or goes on for ever) when the devices of all have carried so many bytes more
//     stats                         answers "stats {...}": what the gateway counts, its sessions, ciphers of libcrypto in use
//     places                        answers "places {...}": of several workers, which have what of sessions
//     memory                        collects garbage and answers "memory {...}"
// It reaches into what is private, so that the product needs no way of dying on request.
import { createInterface } from 'node:readline'

import { recordContexts } from '@twinbore/dtls/io'

const dist = new URL('../../packages/gateway-ref/dist/', import.meta.url)
const { Gateway } = await import(new URL('control-plane/io/gateway.js', dist))
const { loadConfigFile } = await import(new URL('config/io/load-config.js', dist))
const { createLogger } = await import(new URL('log/io/create-logger.js', dist))

const { config } = await loadConfigFile(process.argv[2], process.env)
const gateway = new Gateway(config, { log: createLogger(config.log), preferredDriver: 'worker' })
await gateway.start()
console.log(`ready ${gateway.stats().dataPlane.driver}`)
const workersOf = plane => plane.drivers ?? [plane]

const ways = {
  // A permit without an App-ID: no control plane sends that.
  throw: plane => plane.post([{ type: 'permit', session: 0 }]),
  exit: plane => {
    void plane.worker.terminate()
    plane.wake.signal()
  },
  hang: plane => {
    const { wake, worker, rings, status } = plane
    const { heart, read, written } = { heart: 0, read: 1, written: 0 }
    const ring = rings.toWorker
    const { words, heads, size } = ring
    ring.publish()
    // What follows in the ring is "skip to the start", there as well, and the end is nowhere: the worker looks for it for ever.
    // This thread stands still meanwhile, so that it writes nothing over that.
    const sleep = ms => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
    const end = words[written]
    heads[(end & (size - 1)) >> 2] = -1
    heads[0] = -1
    Atomics.store(words, written, end + 4)
    wake.signal()
    for (let before = -1; before !== Atomics.load(status, heart); sleep(120)) before = Atomics.load(status, heart)
    worker.once('exit', () => {
      ring.publish()
      Atomics.store(words, read, ring.ahead)
      Atomics.store(words, written, ring.ahead)
    })
  },
}
function carried() {
  const { bytesRead, bytesWritten } = gateway.stats().device
  return bytesRead + bytesWritten
}

const answers = {
  // Of each worker, how many sessions have their association there; and how many have it elsewhere than their translations.
  places() {
    const { places, workers } = gateway.running.plane
    const owners = Array.from({ length: workers }, (_, n) => places.owners.filter(owner => owner === n).length)
    const away = places.owners.filter((owner, n) => owner !== -1 && ![-1, owner].includes(places.homes[n])).length
    return { owners, away }
  },
  stats: () => ({ ...gateway.stats(), list: gateway.sessions(), recordContexts: recordContexts() }),
  async memory() {
    // What finalizers release goes with the second collection.
    await globalThis.gc({ type: 'major', execution: 'async' })
    await globalThis.gc({ type: 'major', execution: 'async' })
    return process.memoryUsage()
  },
}

const lines = createInterface({ input: process.stdin })
process.once('SIGTERM', () => lines.close())
for await (const line of lines) {
  if (Object.hasOwn(answers, line)) {
    console.log(`${line} ${JSON.stringify(await answers[line]())}`)
    continue
  }
  const [way, bytes = '0', worker = '0'] = line.split(' ')
  if (!gateway.running) break
  const plane = workersOf(gateway.running.plane)[worker]
  const before = plane.restarts
  const enough = carried() + Number(bytes)
  while (carried() < enough) await new Promise(resolve => setTimeout(resolve, 5))
  const began = performance.now()
  ways[way](plane)
  const died = setInterval(() => {
    if (plane.restarts === before || !plane.latest) return
    clearInterval(died)
    console.log(`replaced after ${(performance.now() - began).toFixed(0)} ms`)
  }, 1)
}
await gateway.stop()
