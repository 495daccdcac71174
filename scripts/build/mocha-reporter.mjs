// @ts-check
import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

/** Dots while it runs, failures in full at the end, and the counts as JSON where NODE_DIFFUSERS_TEST_COUNTS says. */
export default class CountingReporter extends Mocha.reporters.Dot {
  /**
   * @param {Mocha.Runner} runner
   * @param {Mocha.MochaOptions} options
   */
  constructor(runner, options) {
    super(runner, options);
    const counts = { passed: 0, failed: 0, skipped: 0 };
    runner.on('pass', () => counts.passed++);
    runner.on('fail', () => counts.failed++);
    runner.on('pending', () => counts.skipped++);
    runner.once('end', () => {
      const file = process.env.NODE_DIFFUSERS_TEST_COUNTS;
      if (file) writeFileSync(file, JSON.stringify(counts));
    });
  }
}
