'use strict';
// For node-redis's tests: the server at TEST_PORT in place of one in a container. Clusters and passwords are left out.

const dockers = require('@redis/test-utils/dist/dockers');
const tests = require('@redis/test-utils').default.prototype;

dockers.spawnRedisServer = async () => ({ port: Number(process.env.TEST_PORT), dockerId: '' });
tests.testWithCluster = title => it.skip(title);

const { testWithClient } = tests;
tests.testWithClient = function (title, test, options) {
  return options.serverArguments.includes('--requirepass') ? it.skip(title) : testWithClient.call(this, title, test, options);
};
