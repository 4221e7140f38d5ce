import { performance } from 'node:perf_hooks'
import type { MessagePort } from 'node:worker_threads'
import { receiveMessageOnPort } from 'node:worker_threads'
import { IpAddress } from '@twinbore/core/address'
import { systemRandom } from '@twinbore/core/io'
import type { Clock } from '@twinbore/core/runtime'
import type { DatagramNotice } from '@twinbore/tun'
import {
  adoptDatagramSocket,
  adoptTun,
  DescriptorWait,
  nativeCopy,
  setPreciseTimers,
  WakeSignal,
} from '@twinbore/tun/io'
import { HostAddressDevice } from '../../egress/host-address-device.ts'
import type { PlaneCommand } from '../commands.ts'
import { DataPlaneEngine } from '../engine.ts'
import { WorkerMesh } from '../mesh/worker-mesh.ts'
import { PacketRing } from '../rings/packet-ring.ts'
import { PlaneLoop } from './plane-loop.ts'
import { recordCrypto } from './record-crypto.ts'
import { ownThreadNumber } from './thread-activity.ts'
import { StatusWord, type WorkerPlace, type WorkerReport, type WorkerStart } from './worker-protocol.ts'

/**
 * The life of a data plane's thread. It opens nothing: descriptors are the main thread's, so that a successor finds what
 * waits in them. What it throws ends the thread, and the main thread starts another one.
 */
export function runWorker(start: WorkerStart, port: MessagePort): void {
  const { settings, device, socket, gso, shared } = start
  const offset = hrtimeMs() - performance.now() - start.clockOrigin
  const clock: Clock = { now: () => performance.now() + offset, wallClock: () => Date.now() }
  const wake = WakeSignal.adopt(start.wake)
  const notify = WakeSignal.adopt(start.notify)
  const copy = nativeCopy()
  const toStreams = new PacketRing(shared.toStreams, copy)
  const tun = adoptTun(device.tun)
  const pairs = device.addressPairs.map(({ host, transit }) => ({
    host: IpAddress.of(host),
    transit: IpAddress.of(transit),
  }))
  const onNotice = (notice: DatagramNotice) => port.postMessage({ events: [], notice } satisfies WorkerReport)
  const mesh = start.mesh && openMesh(start.mesh)
  const engine = new DataPlaneEngine(settings, {
    device: pairs.length > 0 ? new HostAddressDevice(tun, pairs) : tun,
    socket: socket === undefined ? undefined : adoptDatagramSocket({ descriptor: socket, gso, onNotice }),
    crypto: recordCrypto(start.records),
    random: systemRandom,
    totals: new Float64Array(shared.totals),
    sequences: new Float64Array(shared.sequences),
    translations: shared.translations && { memory: shared.translations, now: clock.now() },
    mesh,
    sendOnStream: (session, bytes, at, length) => void toStreams.push(bytes, at, length, session),
  })
  setPreciseTimers()
  const status = new Int32Array(shared.status)
  Atomics.store(status, StatusWord.thread, ownThreadNumber())
  const loop = new PlaneLoop(engine, {
    wait: new DescriptorWait([start.wake, device.tun.descriptor, ...(socket === undefined ? [] : [socket])]),
    clock,
    status,
    fromStreams: new PacketRing(shared.fromStreams, copy),
    toStreams,
    hasSocket: socket !== undefined,
    mesh,
    takeCommands: () => receiveMessageOnPort(port)?.message as readonly PlaneCommand[] | undefined,
    clearWake: () => wake.clear(),
    report: report => port.postMessage(report),
    notify: () => notify.signal(),
  })
  tun.onLost = error => loop.lose(error.message)
  port.postMessage({ events: [], stats: engine.stats() })
  const again = () => {
    // A thread without anything to wait for ends by itself.
    if (loop.turn()) setImmediate(again)
  }
  again()
}

function openMesh({ memory, self, wakes }: WorkerPlace): WorkerMesh {
  const signals = wakes.map(descriptor => WakeSignal.adopt(descriptor))
  return new WorkerMesh(memory, self, worker => signals[worker]!.signal())
}

function hrtimeMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
