// The gateway that benches measure: what `twinbore gateway --config FILE` runs, and on SIGUSR2 a line "stats {...}" with
// the counters of the gateway.
import { createLogger, Gateway, loadConfigFile } from '@twinbore/gateway-ref'

const { config } = await loadConfigFile(process.argv[2], process.env)
const gateway = new Gateway(config, {
  log: createLogger({ ...config.log, level: 'warn' }, process.stderr, process.env),
})
process.on('SIGUSR2', () => console.log(`stats ${JSON.stringify(gateway.stats())}`))
process.once('SIGTERM', () => void gateway.stop().catch(() => {}))
await gateway.start()
console.log(`ready on port ${gateway.port}`)
const failure = await gateway.stopped
if (failure) {
  console.error(failure.message)
  process.exitCode = 1
}
