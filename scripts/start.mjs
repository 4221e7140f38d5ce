// npm start [-- OPTIONS]: the demonstration gateway, on a clone with nothing installed but Node.js. Options go to
// `twinbore demo`; `npm start -- --once` ends after the traffic with exit code 0, or with 1 and the reason.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root } from './setup.mjs'

requireNode()
ensureInstalled()
ensureBuilt()

const program = join(root, 'packages', 'gateway-ref', 'dist', 'bin.js')
// In a process group of its own: a terminal's Ctrl-C comes to this process, and once more from npm. The program takes a second
// signal for "at once", so it gets what comes twice in a moment only once.
const child = spawn(process.execPath, [program, 'demo', ...process.argv.slice(2)], { stdio: 'inherit', detached: true })
const sentAt = new Map()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (performance.now() - (sentAt.get(signal) ?? Number.NEGATIVE_INFINITY) > 300) child.kill(signal)
    sentAt.set(signal, performance.now())
  })
}
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === null ? 1 : 128 + signalNumber(signal))
})

function signalNumber(signal) {
  return { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }[signal] ?? 0
}
