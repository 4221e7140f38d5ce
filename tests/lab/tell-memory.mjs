// Loaded before a program whose memory a test watches: `node --expose-gc --import tell-memory.mjs PROGRAM`. On SIGUSR2
// it collects garbage and prints a line "memory {...}" on standard error, with the processor time up to then.
process.on('SIGUSR2', async () => {
  const { user, system } = process.cpuUsage()
  // What finalizers release goes with the second collection.
  await globalThis.gc({ type: 'major', execution: 'async' })
  await globalThis.gc({ type: 'major', execution: 'async' })
  const { rss, heapUsed, external } = process.memoryUsage()
  console.error(`memory ${JSON.stringify({ rss, heapUsed, external, cpuSeconds: (user + system) / 1e6 })}`)
})
