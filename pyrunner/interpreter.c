#include "interpreter.h"

#include "output.h"

#include <marshal.h>
#include <stdio.h>
#include <string.h>

static int status_error(struct err *err, PyStatus status, const char *step)
{
	return err_set(err, -EIO, "cannot start Python, %s: %s%s%s", step, status.func != NULL ? status.func : "",
		status.func != NULL ? ": " : "", status.err_msg != NULL ? status.err_msg : "no reason given");
}

/* The pending exception as a sentence; clears it. */
static int exception_error(struct err *err, const char *step)
{
	cleanup_pyobject PyObject *type = NULL;
	cleanup_pyobject PyObject *value = NULL;
	cleanup_pyobject PyObject *traceback = NULL;
	cleanup_pyobject PyObject *text = NULL;
	const char *utf8;

	PyErr_Fetch(&type, &value, &traceback);              /* New references, or NULL. */
	text = value != NULL ? PyObject_Str(value) : NULL;   /* New reference. */
	utf8 = text != NULL ? PyUnicode_AsUTF8(text) : NULL; /* Borrowed from text. */
	PyErr_Clear();
	return err_set(err, -EIO, "cannot start Python, %s: %s", step, utf8 != NULL ? utf8 : "no reason given");
}

static PyStatus preinitialize(void)
{
	PyPreConfig config;

	PyPreConfig_InitPythonConfig(&config);
	config.parse_argv = 0;
	/* Text is UTF-8 whatever the locale: a container often has none, and "C" would mean ASCII. */
	config.utf8_mode = 1;
	return Py_PreInitialize(&config);
}

static void config_clearp(PyConfig *config)
{
	PyConfig_Clear(config);
}

static PyStatus initialize(void)
{
	__attribute__((cleanup(config_clearp))) PyConfig config;
	PyStatus status;

	PyConfig_InitPythonConfig(&config);
	config.parse_argv = 0;
	config.pathconfig_warnings = 0;
	/* As python3 has it: SIGPIPE and SIGXFSZ ignored, SIGINT an exception. */
	config.install_signal_handlers = 1;
	config.configure_c_stdio = 0;
	/* What sys.executable is, and where the standard library is looked for: this program stands elsewhere. */
	status = PyConfig_SetBytesString(&config, &config.executable, PYRUNNER_PYTHON);
	if (PyStatus_Exception(status))
		return status;
	status = PyConfig_SetBytesString(&config, &config.program_name, PYRUNNER_PYTHON);
	if (PyStatus_Exception(status))
		return status;
	return Py_InitializeFromConfig(&config);
}

static int import_embedded(const struct embedded_module *embedded, struct err *err)
{
	cleanup_pyobject PyObject *code = NULL;
	cleanup_pyobject PyObject *module = NULL;

	code = PyMarshal_ReadObjectFromString((const char *) embedded->code, (Py_ssize_t) embedded->length); /* New. */
	if (code != NULL)
		module = PyImport_ExecCodeModule(embedded->name, code); /* New. */
	return module != NULL ? 0 : exception_error(err, embedded->name);
}

/* Gives on_demand.py the modules that it imports: name to code, without a copy. */
static int offer_on_demand(struct err *err)
{
	cleanup_pyobject PyObject *module = PyImport_ImportModule("pyaction_bootstrap.on_demand");          /* New. */
	cleanup_pyobject PyObject *codes = module != NULL ? PyObject_GetAttrString(module, "codes") : NULL; /* New. */

	if (codes == NULL)
		return exception_error(err, "the bootstrap");
	for (size_t i = embedded_eager_count; i < embedded_module_count; i++) {
		const struct embedded_module *embedded = &embedded_modules[i];
		cleanup_pyobject PyObject *code = PyMemoryView_FromMemory(
			(char *) embedded->code, (Py_ssize_t) embedded->length, PyBUF_READ); /* New. */

		if (code == NULL || PyDict_SetItemString(codes, embedded->name, code) < 0)
			return exception_error(err, embedded->name);
	}
	return 0;
}

static int import_bootstrap(PyObject **ret_bootstrap, struct err *err)
{
	int r;

	PyObject *module;

	if (PyImport_GetMagicNumber() != embedded_magic)
		return err_set(
			err, -EINVAL, "the bootstrap modules were compiled for another version of Python: build again");
	for (size_t i = 0; i < embedded_eager_count; i++) {
		r = import_embedded(&embedded_modules[i], err);
		if (r < 0)
			return r;
	}
	r = offer_on_demand(err);
	if (r < 0)
		return r;
	module = PyImport_ImportModule("pyaction_bootstrap.handle"); /* New. */
	if (module == NULL)
		return exception_error(err, "the bootstrap");
	*ret_bootstrap = module;
	return 0;
}

int interpreter_start(PyObject **ret_bootstrap, struct err *err)
{
	PyStatus status = preinitialize();

	if (PyStatus_Exception(status))
		return status_error(err, status, "before its configuration");
	if (PyImport_AppendInittab("_pyaction", output_module) < 0)
		return err_set(err, -ENOMEM, "cannot start Python: out of memory");
	status = initialize();
	if (PyStatus_Exception(status))
		return status_error(err, status, "with its configuration");
	return import_bootstrap(ret_bootstrap, err);
}
