// npm start [-- OPTIONS]: the demonstration gateway, on a clone with nothing installed but Node.js. Options go to
// `twinbore demo`; `npm start -- --once` ends after the traffic with exit code 0, or with 1 and the reason.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root } from './setup.mjs'

requireNode()
ensureInstalled()
ensureBuilt()

const program = join(root, 'packages', 'gateway-ref', 'dist', 'bin.js')
const child = spawn(process.execPath, [program, 'demo', ...process.argv.slice(2)], { stdio: 'inherit' })
// A terminal sends its signals to both processes; one sent by another program reaches only this one.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === null ? 1 : 128 + signalNumber(signal))
})

function signalNumber(signal) {
  return { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }[signal] ?? 0
}
