// The thread of a data plane on a machine that has no processor left for it: the thread gets the lowest priority, and processes
// of the usual one take all there is, for so long. Prints one JSON line: how long the thread's heart stood still at most, the log,
// and how often it was replaced.
//   node starved-worker.mjs MILLISECONDS
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '@twinbore/core/io'
import { WakeSignal } from '@twinbore/tun/io'

const dist = new URL('../../packages/gateway-ref/dist/data-plane/io/', import.meta.url)
const { WorkerDriver } = await import(new URL('worker-driver.js', dist))
const { nativeLibrary } = await import(new URL('../../packages/tun/dist/io/native-library.js', import.meta.url))
const { StatusWord } = await import(new URL('worker-protocol.js', dist))

const SCHED_IDLE = 5
const milliseconds = Number(process.argv[2])
const lines = []
const line = level => (message, fields) => void lines.push({ level, message, ...fields })

// In place of a TUN: never readable.
const { descriptor } = WakeSignal.open()
const driver = await WorkerDriver.start(
  {
    capacity: 4,
    maxAssociations: 4,
    translation: undefined,
    destinations: { pools: [], ownAddresses: [], allowed: [] },
    gatewayAddresses: {},
    mtu: 1400,
  },
  {
    host: {
      handleEvent() {},
      sendOnStream() {},
      restore: () => [],
      handleFailure: error => line('lost')(error.message),
    },
    device: {
      tun: { descriptor, name: 'none', mtu: 1400, headerBytes: 0, segmentation: false, datagramSegmentation: false },
      addressPairs: [],
    },
    socket: undefined,
    gso: false,
    records: 'node',
    onNotice() {},
    clock: systemClock,
    log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
  },
)
const beat = () => Atomics.load(driver.status, StatusWord.heartbeat)
while (beat() === 0) await sleep(1)
const library = nativeLibrary()
const priority = new Int32Array(1)
library.function('sched_setscheduler', 'int', ['int', 'int', 'address'])(
  Atomics.load(driver.status, StatusWord.thread),
  SCHED_IDLE,
  library.addressOf(priority.buffer),
)

// They end by themselves, whatever becomes of this.
const burn = `for (const end = Date.now() + ${milliseconds}; Date.now() < end; );`
const burners = Array.from({ length: 2 * availableParallelism() }, () => spawn(process.execPath, ['-e', burn]))
const burnt = Promise.all(burners.map(child => new Promise(resolve => child.once('exit', resolve))))
let longestMs = 0
let last = { beat: beat(), at: performance.now() }
let isOver = false
void burnt.then(() => {
  isOver = true
})
while (!isOver) {
  await sleep(5)
  const now = performance.now()
  longestMs = Math.max(longestMs, Math.round(now - last.at))
  if (beat() !== last.beat) last = { beat: beat(), at: now }
}
// It is at work again.
for (const before = beat(); beat() === before; ) await sleep(5)
console.log(JSON.stringify({ longestMs, lines, restarts: driver.restarts }))
await driver.stop()
process.exit()
