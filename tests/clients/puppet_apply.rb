# Puppet's type `service`: a line of JSON in, the parameters of the resource; a line of JSON out, what applying it has
# done. With `do`, what that method of its provider returns instead.

require 'json'
require 'puppet'

Puppet.initialize_settings([])
Puppet.push_context(Puppet.base_context(Puppet.settings))
Puppet.settings.use(:main)

def told(question)
  method = question.delete('do')
  service = Puppet::Type.type(:service).new(question.transform_keys(&:to_sym))
  catalog = Puppet::Resource::Catalog.new
  catalog.add_resource(service)
  return { returns: service.provider.send(method) } if method

  report = catalog.apply.report.resource_statuses[service.ref]
  { changed: report.changed, failed: report.failed, out_of_sync: report.out_of_sync }
rescue StandardError => e
  { error: e.message }
end

$stdout.sync = true
$stdin.each_line { |line| puts JSON.generate(told(JSON.parse(line))) }
