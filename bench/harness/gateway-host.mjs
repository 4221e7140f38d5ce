// The gateway that benches measure: what `twinbore gateway --config FILE` runs. Each line on standard input is answered by one
// on standard output: `stats` by the counters of the gateway as JSON, `collect` (with node --expose-gc) by `collected`.
import { createInterface } from 'node:readline'
import { createLogger, Gateway, loadConfigFile } from '@twinbore/gateway-ref'

const { config } = await loadConfigFile(process.argv[2], process.env)
const log = createLogger({ ...config.log, level: 'warn' }, process.stderr, process.env)
const gateway = new Gateway(config, { log, preferredDriver: 'worker' })
createInterface({ input: process.stdin }).on('line', async line => {
  if (line === 'collect') {
    // What finalizers release goes with the second collection.
    await globalThis.gc({ type: 'major', execution: 'async' })
    await globalThis.gc({ type: 'major', execution: 'async' })
    console.log('collected')
  } else console.log(`stats ${JSON.stringify(gateway.stats())}`)
})
process.once('SIGTERM', () => {
  process.stdin.destroy()
  gateway.stop().catch(() => {})
})
await gateway.start()
console.log(`ready on port ${gateway.port}`)
const failure = await gateway.stopped
if (failure) {
  console.error(failure.message)
  process.exitCode = 1
}
